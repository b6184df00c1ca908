package mount_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"
)

// What a child says before it asks reaches the client before the question: to a modern client that is the answer, and
// ends the stream.
func TestQuestionComesAfterNews(t *testing.T) {
	m, c := rawStdio(t, ""), newClient()
	heard := -1
	c.reply = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
		heard = len(c.of("notifications/progress"))
		return json.RawMessage(`{"action":"decline"}`), nil
	}
	m.do(bounded(t), tool(by("alice", "", c), "tell and ask", `{}`, `{"progressToken":"t"}`))
	if heard != told {
		t.Errorf("asked after %d of %d notifications", heard, told)
	}
}

// A server that is slow to take the answer to its question gets it all the same, as long as the call has time.
func TestAnswerHasTime(t *testing.T) {
	t.Parallel()
	real := handlerOf(everything("legacy"), "legacy")
	slow := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if bytes.Contains(body, []byte(`"action":"accept"`)) {
			select {
			case <-time.After(6 * time.Second): // longer than what is said in vain:
			case <-r.Context().Done():
				return
			}
		}
		real.ServeHTTP(w, r)
	}))
	m, c := overHTTP(t, slow.URL), newClient()
	c.reply = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(`{"action":"accept","content":{"name":"Zoë"}}`), nil
	}
	if got := m.says(bounded(t), tool(by("alice", "one", c), "ask", `{}`, "")); got != "accept Zoë s<1>" {
		t.Error(got)
	}
}
