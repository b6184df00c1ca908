package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// cursor is what a page that ends with an entry leads to; hostedmcp's own way, since a stranger may know it.
func cursor(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// watches subscribes to a resource of the user's own and to another's.
func (u *user) watches(ctx context.Context, other *user, modern bool) {
	own, theirs := "note://"+u.name, "note://"+other.name
	if !modern {
		a, err := u.try(ctx, &request{method: "resources/subscribe", params: `"uri":"` + theirs + `"`})
		u.refused("a subscription to "+theirs, a, err)
		if a, err := u.try(ctx, &request{method: "resources/subscribe", params: `"uri":"` + own + `"`}); err != nil || a.last.Error != nil {
			u.run.fault("%s cannot subscribe: %v %v", u.name, err, a)
		}
		return
	}
	// What is acknowledged and told is looked at for others' names by send; what was asked for is not among it.
	acknowledged, updated := false, false
	q := &request{modern: true, id: "7", method: "subscriptions/listen",
		params: `"notifications":{"resourceSubscriptions":["` + theirs + `","` + own + `"]}`}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q.hear = func(m received) {
		acknowledged = acknowledged || strings.HasSuffix(m.Method, "acknowledged")
		if m.Method == "notifications/resources/updated" {
			updated = m.Params.URI == own
			cancel()
		}
	}
	u.send(ctx, q) // ends by the cancellation
	if !acknowledged || !updated {
		u.run.fault("%s: subscription acknowledged %v, updated %v", u.name, acknowledged, updated)
	}
}

// updates judges the session's own stream after watches: the update of the user's own resource, and no other.
func (u *user) updates(st *standing, modern bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, m := range st.heard {
		if m.Method == "notifications/resources/updated" && m.Params.URI != "note://"+u.name {
			u.run.fault("%s heard of %s", u.name, m.Params.URI)
		}
	}
}
