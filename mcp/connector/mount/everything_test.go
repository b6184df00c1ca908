package mount_test

//lint:file-ignore SA1019 mounted servers log, deprecated or not

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// everything is a real server of the SDK that tells and asks all that one can. era is "legacy", "modern" or "both".
func everything(era string) *sdk.Server {
	versions := map[string][]string{"legacy": {"2025-11-25", "2025-06-18", "2025-03-26"}, "modern": {"2026-07-28"}}[era]
	s := sdk.NewServer(&sdk.Implementation{Name: "everything", Version: "1"}, &sdk.ServerOptions{
		Instructions: "ask <anything> & more", PageSize: 3, SupportedProtocolVersions: versions,
		SubscribeHandler:   func(context.Context, *sdk.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *sdk.UnsubscribeRequest) error { return nil },
		CompletionHandler: func(context.Context, *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
			return &sdk.CompleteResult{Completion: sdk.CompletionResultDetails{Values: []string{"paris"}}}, nil
		},
		Capabilities: &sdk.ServerCapabilities{Logging: &sdk.LoggingCapabilities{}},
	})
	addTools(s)
	s.AddPrompt(&sdk.Prompt{Name: "greet"}, func(context.Context, *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return &sdk.GetPromptResult{Description: "hello"}, nil
	})
	s.AddResource(&sdk.Resource{URI: "crm://one", Name: "one"}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: "crm://one", Text: "1"}}}, nil
	})
	s.AddResourceTemplate(&sdk.ResourceTemplate{URITemplate: "crm://{id}", Name: "any"}, func(_ context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: req.Params.URI, Text: "?"}}}, nil
	})
	return s
}

// served counts what happened inside one process.
type served struct {
	cancelled atomic.Int64
	wake      chan struct{}
}

func addTools(s *sdk.Server) {
	state := &served{wake: make(chan struct{}, 100)}
	tool := func(name, schema string, f func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error)) {
		s.AddTool(&sdk.Tool{Name: name, Description: name, InputSchema: json.RawMessage(schema)}, f)
	}
	const anything = `{"type":"object"}`
	tool("echo", anything, func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return text(string(req.Params.Arguments)), nil
	})
	tool("headed", `{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"object","properties":{"depth":{"type":"integer","x-mcp-header":"Depth"}}}}}`,
		func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return text(req.Extra.Header.Get("Mcp-Param-Region") + " " + req.Extra.Header.Get("Mcp-Param-Depth")), nil
		})
	tool("whoami", anything, func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		var h http.Header
		if req.Extra != nil {
			h = req.Extra.Header
		}
		out, err := json.Marshal(map[string]any{"header": h, "meta": req.Params.Meta, "env": os.Environ(), "session": req.Session.ID(), "pid": os.Getpid()})
		return text(string(out)), err
	})
	tool("progress", anything, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		for i := range 3 {
			p := &sdk.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i), Message: string(req.Params.Arguments)}
			if err := req.Session.NotifyProgress(ctx, p); err != nil {
				return nil, err
			}
		}
		return text("done"), nil
	})
	tool("log", anything, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return text("logged"), req.Session.Log(ctx, &sdk.LoggingMessageParams{Level: "warning", Data: string(req.Params.Arguments)})
	})
	tool("ask", anything, ask)
	tool("slow", anything, func(ctx context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		state.wake <- struct{}{}
		select {
		case <-ctx.Done():
		case <-time.After(patience / 4): // a notice that came to grief must not hold up the end of the test
			return nil, context.DeadlineExceeded
		}
		state.cancelled.Add(1)
		state.wake <- struct{}{}
		return nil, ctx.Err()
	})
	tool("await", anything, func(ctx context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		select {
		case <-state.wake:
		case <-ctx.Done():
		}
		return text(fmt.Sprint(state.cancelled.Load())), nil
	})
	tool("touch", anything, func(ctx context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return text("touched"), s.ResourceUpdated(ctx, &sdk.ResourceUpdatedNotificationParams{URI: "crm://one"})
	})
	tool("grow", anything, func(_ context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		s.AddTool(&sdk.Tool{Name: "grown", InputSchema: json.RawMessage(anything)}, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) { return text("new"), nil })
		return text("grown"), nil
	})
}

// ask wants a name of the user; the SDK asks for it in the way of each era.
func ask(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	if r, ok := req.Params.InputResponses["name"].(*sdk.ElicitResult); ok {
		return text(fmt.Sprint(r.Action, " ", r.Content["name"], " ", req.Params.RequestState)), nil
	}
	return &sdk.CallToolResult{RequestState: "s<1>", InputRequests: sdk.InputRequestMap{
		"name": &sdk.ElicitParams{Mode: "form", Message: "your name?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}}}`)},
	}}, nil
}

func text(s string) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: s}}}
}

// site is an HTTP server before a handler that may be replaced, and notes what it was asked.
type site struct {
	*httptest.Server
	mu      sync.Mutex
	handler http.Handler
	seen    []*http.Request
}

func newSite(t *testing.T, h http.Handler) *site {
	s := &site{handler: h}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		h := s.handler
		s.seen = append(s.seen, r.Clone(context.Background()))
		s.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) replace(h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

// requests returns what was asked by method.
func (s *site) requests(method string) []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*http.Request
	for _, r := range s.seen {
		if r.Method == method {
			out = append(out, r)
		}
	}
	return out
}

// handlerOf serves one SDK server over HTTP.
func handlerOf(s *sdk.Server, era string) http.Handler {
	return sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{
		Stateless: era == "modern", PropagateRequestCancellation: era == "modern",
	})
}
