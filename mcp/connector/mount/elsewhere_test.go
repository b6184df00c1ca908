package mount_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
)

// A server of the older era may end the stream of a request before the answer and say that it goes on (`retry:`, WHATWG
// HTML §9.2.6): without an event id by which it could be taken up, the answer may come on the standing stream.
func TestAnswerElsewhere(t *testing.T) {
	answers := make(chan string, 1)
	s := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			select {
			case answer := <-answers:
				fmt.Fprintf(w, "data: %s\n\n", answer)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			case <-r.Context().Done():
			}
			return
		}
		body, _ := io.ReadAll(r.Body)
		var a asked
		_ = json.Unmarshal(body, &a)
		if a.Method != "tools/call" {
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			rawHandler("legacy").ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		if a.Params.Name != "cut" {
			fmt.Fprint(w, "retry: 10\n\n")
		}
		if a.Params.Name == "elsewhere" {
			answers <- result(a.ID, `{"from":"elsewhere"}`)
		}
	}))
	m := hostileHTTP(t, s.URL, seconds(3))
	ctx, call := bounded(t), by("alice", "one", nil)
	if e := m.fails(ctx, tool(call, "cut", `{}`, "")); e.Reason != oauth.ConnectorBadAnswer {
		t.Error(e)
	}
	if got := m.do(ctx, tool(call, "elsewhere", `{}`, "")); got != `{"from":"elsewhere"}` {
		t.Error(got)
	}
	if e := m.fails(ctx, tool(call, "never", `{}`, "")); e.Reason != oauth.ConnectorUnreachable || !strings.Contains(e.Message, "no answer in time") {
		t.Error(e)
	}
}
