package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// connectors are an API and an MCP server that keep the credentials with which they are called.
type connectors struct {
	book     *recorder
	url, mcp string
	demo     bool // only these two: own, and the demo CRM
}

// newConnectors starts them.
func (s *search) newConnectors() (*connectors, error) {
	c := &connectors{book: s.book}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{kind}/things", func(w http.ResponseWriter, q *http.Request) {
		c.called(q.PathValue("kind"), q)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"things":[1,2,3]}`)
	})
	// an API that gives away in its error what it was called with
	mux.HandleFunc("GET /{kind}/broken", func(w http.ResponseWriter, q *http.Request) {
		c.called(q.PathValue("kind"), q)
		http.Error(w, fmt.Sprint("cannot serve ", q.Header), http.StatusInternalServerError)
	})
	mux.HandleFunc("GET /{kind}/refused", func(w http.ResponseWriter, q *http.Request) {
		c.called(q.PathValue("kind"), q)
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer error=%q", q.Header.Get("Authorization")))
		w.WriteHeader(http.StatusUnauthorized)
	})
	api := httptest.NewServer(mux)
	s.atEnd(api.Close)
	server := echoServer()
	h := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, nil)
	mounted := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c.book.secret("user's token at an MCP server", bearer(q), "")
		h.ServeHTTP(w, q)
	}))
	s.atEnd(mounted.Close)
	c.url, c.mcp = api.URL, mounted.URL
	return c, nil
}

func echoServer() *sdk.Server {
	server := sdk.NewServer(&sdk.Implementation{Name: "mounted", Version: "1"}, nil)
	server.AddTool(&sdk.Tool{Name: "echo", InputSchema: map[string]any{"type": "object"}},
		func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "hello"}}}, nil
		})
	return server
}

// childArgument makes this program the MCP server behind a connector of kind mcp-stdio.
const childArgument = "stdio-server"

// child serves until its input ends. It gets its key in the environment, and every user's token in _meta.
func child() int {
	if os.Getenv("SERVICE_KEY") == "" {
		fmt.Fprintln(os.Stderr, "no SERVICE_KEY")
		return 1
	}
	if err := echoServer().Run(context.Background(), &sdk.StdioTransport{}); err != nil {
		return 1
	}
	return 0
}

func bearer(q *http.Request) string {
	v := q.Header.Get("Authorization")
	return v[min(len(v), len("Bearer ")):]
}

func (c *connectors) called(kind string, q *http.Request) {
	c.book.secret(map[string]string{"own": "user's token at a connector", "swap": "exchanged token at a connector"}[kind], bearer(q), "")
	if kind == "fixed" {
		c.book.secret("static key at a connector", q.Header.Get("X-Api-Key"), "")
	}
}

// tools are the names under which they are served.
func (c *connectors) tools() (out []string) {
	if c.demo {
		return []string{"own__things", "own__broken", "crm__list_deals", "crm__get_deal"}
	}
	for _, kind := range []string{"own", "swap", "fixed"} {
		for _, tool := range []string{"things", "broken", "refused"} {
			out = append(out, kind+"__"+tool)
		}
	}
	return append(out, "mounted__echo", "child__echo")
}

const thingsDocument = `{"openapi":"3.1.0","info":{"title":"Things","version":"1"},"servers":[{"url":%q}],"paths":{
"/things":{"get":{"operationId":"things","summary":"List things","responses":{"200":{"description":"ok"}}}},
"/broken":{"get":{"operationId":"broken","summary":"Fail","responses":{"200":{"description":"ok"}}}},
"/refused":{"get":{"operationId":"refused","summary":"Refuse","responses":{"200":{"description":"ok"}}}}}}`

// config writes their documents and returns their tables.
func (c *connectors) config(dir string) (out []string, err error) {
	key := filepath.Join(dir, "static")
	s := search{book: c.book}
	if err := s.secretFile(key, "static key"); err != nil {
		return nil, err
	}
	for name, credential := range map[string]string{
		"own": `credential = "user"`, "swap": "credential = \"exchange\"\naudience = \"crm-api\"",
		"fixed": fmt.Sprintf("credential = \"static\"\nheader = \"X-Api-Key\"\nsecret_file = %q", key),
	} {
		document := filepath.Join(dir, name+".json")
		if err := os.WriteFile(document, fmt.Appendf(nil, thingsDocument, c.url+"/"+name), 0o600); err != nil {
			return nil, err
		}
		out = append(out, fmt.Sprintf("[[connector]]\nname = %q\nkind = \"openapi\"\ndocument = %q\n%s", name, document, credential))
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return append(out, fmt.Sprintf("[[connector]]\nname = \"mounted\"\nkind = \"mcp-http\"\nurl = %q\ncredential = \"user\"", c.mcp),
		fmt.Sprintf("[[connector]]\nname = \"child\"\nkind = \"mcp-stdio\"\ncommand = [%q, %q]\ncredential = \"static\"\n"+
			"header = \"SERVICE_KEY\"\nsecret_file = %q", self, childArgument, key)), nil
}
