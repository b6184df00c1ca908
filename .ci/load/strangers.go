package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// strangers makes users try what belongs to others: their sessions, unfinished calls, tools, prompts, resources and
// cursors. The connector itself would serve it all.
func (r *run) strangers(people []*user, mounted string) error {
	ctx := context.Background()
	if len(people) > 8 {
		people = people[:8] // each connector makes a child for each
	}
	tried := 0
	for i, u := range people {
		other := people[(i+1)%len(people)]
		for _, modern := range []bool{false, true} {
			st, err := u.open(ctx)
			if err != nil {
				return err
			}
			theirs, err := other.open(ctx)
			if err != nil {
				return err
			}
			tried += u.triesNames(ctx, other, modern)
			if modern {
				u.triesState(ctx, other)
			} else {
				u.triesSession(ctx, other)
			}
			u.watches(ctx, other, modern)
			tried += 3
			u.close(st)
			other.close(theirs)
			u.updates(st, modern)
		}
	}
	r.say("%s connectors: %d attempts upon what is others', over %d users", mounted, tried, len(people))
	return nil
}

// refused judges an attempt: no result, and not a word of the other one but what was sent.
func (u *user) refused(what string, a *reply, err error) {
	if err != nil || a.last.Result != nil || a.status < 400 && a.last.Error == nil {
		u.run.fault("%s tried %s: %v %v", u.name, what, err, a)
	}
}

// try sends a request that names what is another's.
func (u *user) try(ctx context.Context, q *request) (*reply, error) {
	q.id = "7"
	if !q.modern && q.session == "" {
		q.session = u.session
	}
	quiet := *u
	quiet.name = "" // the answer may repeat the name that was asked for
	quiet.run = &run{most: -1}
	return quiet.send(ctx, q)
}

// triesNames asks for another's tool, prompt and resource, and for a page after another's tool.
func (u *user) triesNames(ctx context.Context, other *user, modern bool) (tried int) {
	for _, c := range []string{"web", "pipe"} {
		tool, prompt := c+"__only_"+other.name, c+"__note_"+other.name
		for _, q := range []*request{
			{method: "tools/call", name: tool, params: `"name":"` + tool + `","arguments":{"tag":"x"}`},
			{method: "prompts/get", name: prompt, params: `"name":"` + prompt + `"`},
			{method: "completion/complete", params: `"ref":{"type":"ref/prompt","name":"` + prompt + `"},"argument":{"name":"a","value":"b"}`},
		} {
			q.modern = modern
			a, err := u.try(ctx, q)
			u.refused(q.method+" "+q.name, a, err)
			tried++
		}
		for _, own := range []string{c + "__only_" + u.name} {
			q := &request{modern: modern, method: "tools/call", name: own, params: `"name":"` + own + `","arguments":{"tag":"x"}`}
			if a, err := u.try(ctx, q); err != nil || a.last.Result == nil {
				u.run.fault("%s cannot call %s: %v %v", u.name, own, err, a)
			}
		}
	}
	uri := "note://" + other.name
	q := &request{modern: modern, method: "resources/read", name: uri, params: `"uri":"` + uri + `"`}
	a, err := u.try(ctx, q)
	u.refused(q.method+" "+uri, a, err)
	for _, list := range []string{"tools/list", "prompts/list", "resources/list"} {
		q := &request{modern: modern, method: list, params: `"cursor":"` + cursor("web__only_"+other.name) + `"`}
		a, err := u.try(ctx, q)
		u.refused("a cursor of "+list, a, err)
		// what is listed is looked at for others' names by send
		if a, err := u.send(ctx, &request{modern: modern, id: "7", method: list, session: u.sessionFor(modern)}); err != nil ||
			!strings.Contains(string(a.last.Result), u.name) {
			u.run.fault("%s: own things missing in %s: %v %v", u.name, list, err, a)
		}
	}
	return tried + 4
}

func (u *user) sessionFor(modern bool) string {
	if modern {
		return ""
	}
	return u.session
}

// triesSession uses another's session in each way there is.
func (u *user) triesSession(ctx context.Context, other *user) {
	a, err := u.try(ctx, &request{method: "tools/list", session: other.session})
	u.refused("another's session", a, err)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		res, err := u.bare(ctx, method, other.session)
		if err != nil {
			u.run.fault("%s in another's session: %v", method, err)
			continue
		}
		res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			u.run.fault("%s in another's session: %d", method, res.StatusCode)
		}
	}
}

// triesState goes on with another's unfinished call.
func (u *user) triesState(ctx context.Context, other *user) {
	for _, name := range []string{"web", "pipe"} {
		c := &oneCall{user: other, connector: name, modern: true, heard: &heardOf{}}
		params := fmt.Sprintf(`"name":"%s__work","arguments":{"tag":"%s","ask":"elicit"}`, name, c.tag())
		q := &request{modern: true, id: "7", method: "tools/call", name: name + "__work", params: params, hear: func(received) {}}
		a, err := other.send(ctx, q)
		if err != nil {
			u.run.fault("an unfinished call: %v", err)
			continue
		}
		more, ok := c.input(a.last.Result)
		if !ok {
			u.run.fault("%s does not ask: %s", name, a)
			continue
		}
		a, err = u.try(ctx, &request{modern: true, method: "tools/call", name: name + "__work", params: params + more})
		u.refused("another's requestState", a, err)
		// it is still its owner's
		if a, err = other.send(ctx, &request{modern: true, id: "7", method: "tools/call", name: name + "__work", params: params + more}); err != nil ||
			!strings.Contains(string(a.last.Result), other.name+" says") {
			u.run.fault("%s cannot go on after a stranger tried: %v %v", other.name, err, a)
		}
	}
}
