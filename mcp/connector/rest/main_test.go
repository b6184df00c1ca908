package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api is a REST API that notes what it was asked, and a connector mounted on it.
type api struct {
	t      *testing.T
	server *httptest.Server
	mu     sync.Mutex      // guards asked and said
	asked  []*http.Request // bodies are in said
	said   []string
	answer http.HandlerFunc // nil = 200 {}
	source *rest.Source
}

// mount serves a document's operations. Its text may be JSON or YAML.
func mount(t *testing.T, document string, change ...func(*rest.Options)) *api {
	t.Helper()
	a := &api{t: t}
	a.server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.server.Close)
	o := rest.Options{Config: connector.Config{Name: "crm", Kind: connector.OpenAPI, Document: write(t, document), URL: a.server.URL + "/v1"}.Complete()}
	for _, f := range change {
		f(&o)
	}
	s, err := rest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	a.source = s
	return a
}

func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	buf := make([]byte, 1<<16)
	for {
		n, err := r.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	a.mu.Lock()
	a.asked, a.said = append(a.asked, r), append(a.said, b.String())
	a.mu.Unlock()
	if a.answer != nil {
		a.answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, "{}")
}

// write puts a document into a file.
func write(t testing.TB, document string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "openapi")
	if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// call calls a tool and returns its result as it came.
func (a *api) call(tool, arguments string) (string, error) {
	a.t.Helper()
	params := fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, arguments)
	raw, err := a.source.Do(a.t.Context(), connector.Call{Method: "tools/call", Params: json.RawMessage(params), User: connector.User{
		Subject: "alice", ClientID: "https://client.example/id", Request: "REQ1", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}})
	return string(raw), err
}

// must is call for calls that the API hears of.
func (a *api) must(tool, arguments string) string {
	a.t.Helper()
	before := len(a.asked)
	raw, err := a.call(tool, arguments)
	if err != nil {
		a.t.Fatalf("%s %s: %v", tool, arguments, err)
	}
	if len(a.asked) != before+1 {
		a.t.Fatalf("%s %s: %d requests, result %s", tool, arguments, len(a.asked)-before, raw)
	}
	return raw
}

// definition is a tool's, as it is offered.
func (a *api) definition(tool string) map[string]json.RawMessage {
	a.t.Helper()
	c, err := a.source.Catalog(a.t.Context(), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, raw := range c.Tools {
		var d map[string]json.RawMessage
		if err := json.Unmarshal(raw, &d); err != nil {
			a.t.Fatal(err)
		}
		if string(d["name"]) == fmt.Sprintf("%q", tool) {
			return d
		}
	}
	a.t.Fatalf("no tool %s", tool)
	return nil
}

// doc wraps paths and components into a document.
func doc(version, paths, components string) string {
	if components == "" {
		components = "{}"
	}
	return fmt.Sprintf(`{"openapi":%q,"info":{"title":"CRM","version":"1"},"paths":%s,"components":%s}`, version, paths, components)
}

// quoted is a JSON string.
func quoted(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(raw)
}
