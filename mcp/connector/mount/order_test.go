package mount_test

import (
	"context"
	"encoding/json"
	"testing"
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
