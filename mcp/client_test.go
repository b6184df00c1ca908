package mcp_test

import (
	"context"
	"encoding/json"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestRealClients drives the SDK's own client through both eras (protocol.md §7, Eras).
func TestRealClients(t *testing.T) {
	for _, version := range []string{"2025-03-26", "2025-06-18", version25, version26} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, nil)
			token, _ := w.login("alice", "c1", "mcp", 1)
			session := w.connect(func() string { return token }, version)
			tools, err := session.ListTools(context.Background(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(tools.Tools) != 2 || tools.Tools[0].Name != "whoami" || tools.Tools[1].Name != "userinfo" {
				t.Fatalf("tools: %+v", tools.Tools)
			}
			if !tools.Tools[0].Annotations.ReadOnlyHint || tools.Tools[0].OutputSchema == nil {
				t.Errorf("whoami: %+v", tools.Tools[0])
			}
			if modern := version == version26; modern != (tools.TTLMs == 300_000 && tools.CacheScope == "private") {
				t.Errorf("cache: %d %q", tools.TTLMs, tools.CacheScope)
			}
			for _, name := range []string{"whoami", "userinfo"} {
				result, err := session.CallTool(context.Background(), &sdk.CallToolParams{Name: name})
				if err != nil {
					t.Fatal(err)
				}
				text := result.Content[0].(*sdk.TextContent).Text
				structured, _ := json.Marshal(result.StructuredContent)
				if result.IsError || text == "" || len(structured) < 10 {
					t.Errorf("%s: %s %s", name, text, structured)
				}
			}
			if _, err := session.CallTool(context.Background(), &sdk.CallToolParams{Name: "nothing"}); err == nil {
				t.Error("an unknown tool was called")
			}
		})
	}
}
