package admin

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// The commands around connections. They print what the door answers, and decide nothing but what to ask a person first.

// listGrants reads page after page. -json prints one object, however many pages it takes.
func listGrants(ctx context.Context, c *call) error {
	if c.opt.limit < 1 {
		return wrongUse("-limit must be at least 1; -all shows all")
	}
	if c.opt.state != "" && states[c.opt.state] == nil {
		return wrongUse("-state must be %s", stateWords)
	}
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	out := c.lister()
	// Each page is a request of its own: a list of a million connections holds neither the store nor the socket.
	query := url.Values{"subject": {c.opt.subject}, "client": {c.opt.client}, "state": {c.opt.state}}
	for left := c.opt.limit; c.opt.all || left > 0; {
		n := maxPage
		if !c.opt.all {
			n = min(left, maxPage)
		}
		query.Set("limit", strconv.Itoa(n))
		var page grantPage
		if _, err := a.get(ctx, "/v1/grants?"+query.Encode(), &page); err != nil {
			return err
		}
		if err := out.page(page); err != nil {
			return err
		}
		// a page of a search may be short without being the last: only "next" says
		left -= len(page.Grants)
		if query.Set("after", page.Next); page.Next == "" {
			break
		}
	}
	return out.end(query.Get("after"))
}

// grantLister prints connections as they come: all of a large store fit into no table in memory.
type grantLister struct {
	c *call
	n int
}

// lister begins a list.
func (c *call) lister() *grantLister { return &grantLister{c: c} }

// page prints one page as a table. On a terminal each has its own header, since its columns have their own width.
func (l *grantLister) page(p grantPage) error {
	if l.c.opt.json {
		return l.pageJSON(p)
	}
	var rows [][]string
	for _, g := range p.Grants {
		rows = append(rows, []string{
			// a person is best known by the address; a machine account has none
			g.ID, g.State, cmp.Or(g.Email, g.Name, g.Subject), cmp.Or(g.ClientName, g.Client), l.c.clock(g.Created),
			l.c.clock(g.LastUse), string(g.Reason),
		})
	}
	if len(rows) == 0 {
		return nil
	}
	// the id first: it is what all other commands take
	header := []string{"ID", "STATE", "USER", "CLIENT", "SINCE", "LAST USE", "ENDED BY"}
	if l.n += len(rows); l.n > len(rows) && !l.c.env.Terminal {
		header, rows = rows[0], rows[1:] // one header is enough for a program
	}
	return l.c.table(header, rows)
}

// pageJSON writes one connection a line.
func (l *grantLister) pageJSON(p grantPage) error {
	for _, g := range p.Grants {
		line, err := json.Marshal(g)
		if err != nil {
			return err
		}
		before := ",\n    "
		if l.n == 0 {
			before = "{\n  \"grants\": [\n    "
		}
		l.n++
		if _, err := fmt.Fprintf(l.c.env.Stdout, "%s%s", before, plainJSON(line)); err != nil {
			return err
		}
	}
	return nil
}

// end says that there is more, and where it goes on.
func (l *grantLister) end(next string) error {
	if !l.c.opt.json {
		if l.n == 0 {
			l.c.warn("no such connections")
		}
		if next != "" {
			l.c.warn("there are more: -all shows them, -limit N more of them")
		}
		return nil
	}
	text := "\n  ]"
	if l.n == 0 {
		text = "{\n  \"grants\": []"
	}
	if next != "" {
		quoted, _ := json.Marshal(next) // a string always encodes
		text += ",\n  \"next\": " + string(plainJSON(quoted))
	}
	_, err := io.WriteString(l.c.env.Stdout, text+"\n}\n")
	return err
}

// showGrant prints one connection with the provider's side of it: what explain tells in words, here in figures.
func showGrant(ctx context.Context, c *call) error {
	id := c.args[0]
	if !isID(id) { // it is part of a path, where ".." would lead elsewhere
		return noGrant(id)
	}
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	var g grantDetail
	raw, err := a.get(ctx, "/v1/grants/"+id, &g)
	if err != nil {
		return err
	}
	if c.opt.json {
		return c.printJSON(raw)
	}
	return c.pairs(append([][2]string{
		{"id", g.ID}, {"state", g.State}, {"ended by", string(g.Reason)}, {"ended", c.clock(g.Ended)}, {"subject", g.Subject},
		{"name", g.Name}, {"e-mail", g.Email}, {"groups", strings.Join(shownAll(g.Groups), ", ")}, {"client", g.ClientName},
		{"client id", g.Client}, {"redirect URI", g.RedirectURI}, {"resource", g.Resource}, {"scope", g.Scope.String()},
		{"since", c.clock(g.Created)}, {"last use", c.clock(g.LastUse)}, {"generation", fmt.Sprint(g.Generation)},
		{"events", fmt.Sprint(g.Events)},
	}, c.upstreamPairs(g.Upstream)...))
}

// upstreamPairs are the lines on the provider's side.
func (c *call) upstreamPairs(u *upstreamState) [][2]string {
	if u == nil {
		return nil
	}
	trouble := string(u.Trouble)
	if trouble != "" {
		trouble += " since " + c.clock(u.TroubleSince)
	}
	yes := map[bool]string{true: "yes"}
	return [][2]string{
		{"provider answered", c.clock(u.Answered)}, {"provider token until", c.clock(u.Expires)},
		{"provider session until", c.clock(u.RefreshExpires)}, {"offline", yes[u.Offline]},
		{"next keep-alive", c.clock(u.KeepaliveAt)}, {"trouble", trouble}, {"in doubt", yes[u.InDoubt]},
		{"quarantined", yes[u.Quarantined]}, {"to be revoked", c.clock(u.RevokeAt)},
	}
}

// pairs writes what is not empty, a line each.
func (c *call) pairs(pairs [][2]string) error {
	var rows [][]string
	for _, p := range pairs {
		if value := shown(p[1]); value != "" {
			rows = append(rows, []string{p[0], value})
		}
	}
	if c.env.Terminal {
		return columns(c.env.Stdout, rows)
	}
	for _, row := range rows {
		if err := c.say("%s\t%s", row[0], row[1]); err != nil {
			return err
		}
	}
	return nil
}

// endGrants ends one connection by its id, which nobody types by accident, or all of a user, which is asked about.
func endGrants(ctx context.Context, c *call) error {
	if (len(c.args) == 1) == (c.opt.subject != "") {
		return wrongUse("name one connection, or all of a user with -subject: see hostedmcp grants end -h")
	}
	if len(c.args) == 1 && !isID(c.args[0]) {
		return noGrant(c.args[0])
	}
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	if c.opt.subject != "" {
		return c.endSubject(ctx, a)
	}
	var e ended
	raw, err := a.post(ctx, "/v1/grants/"+c.args[0]+"/end", nil, &e)
	switch {
	case err != nil:
		return err
	case c.opt.json:
		return c.printJSON(raw)
	case e.Ended == 0:
		return c.say("It had ended already, at %s: %s.", c.clock(e.At), shown(string(e.Reason)))
	}
	return c.saidEnded(a, e.Ended)
}

// saidEnded says what was done, and what is still to come.
func (c *call) saidEnded(a *client, n int) error {
	if err := c.say("Ended %s.", many(n, "connection")); err != nil {
		return err
	}
	if n > 0 && a.live == nil {
		c.warn("The provider is asked to revoke its tokens when the server is started.")
	}
	return nil
}

// endSubject shows first whom it is about. What is ended is exactly one subject: an address that belongs to several
// says which.
func (c *call) endSubject(ctx context.Context, a *client) error {
	var users userPage
	if _, err := a.get(ctx, "/v1/users?word="+url.QueryEscape(c.opt.subject), &users); err != nil {
		return err
	}
	if len(users.Users) != 1 {
		var names []string
		for _, u := range users.Users {
			names = append(names, shown(u.Subject))
		}
		return fmt.Errorf("%s belongs to %d users: name the subject: %s", shown(c.opt.subject), len(names), strings.Join(names, ", "))
	}
	u := users.Users[0]
	// On stderr: it is said before anything is done, in a script as well, so that its log tells whom it was about.
	c.warn("%s has %s.", describe(u), many(u.Living, "living connection"))
	if u.Living > 0 && !c.confirm("End all of them?") {
		return fmt.Errorf("nothing was ended")
	}
	var e ended
	// The subject, not the word: the address may have moved to somebody else while the question stood there.
	raw, err := a.post(ctx, "/v1/users/end", map[string]string{"subject": u.Subject}, &e)
	if err != nil {
		return err
	}
	if c.opt.json {
		return c.printJSON(raw)
	}
	return c.saidEnded(a, e.Ended)
}

// describe names a user by all that is known.
func describe(u userLine) string {
	text := shown(u.Subject)
	var more []string
	for _, s := range []string{shown(u.Name), shown(u.Email)} {
		if s != "" && s != text {
			more = append(more, s)
		}
	}
	if len(more) == 0 {
		return text
	}
	return text + " (" + strings.Join(more, ", ") + ")"
}

// confirm asks once on a terminal. In a pipe nobody could answer: who writes a script means it.
func (c *call) confirm(question string) bool {
	if !c.env.Terminal || c.opt.yes || c.env.Stdin == nil {
		return true
	}
	fmt.Fprintf(c.env.Stderr, "%s [y/N] ", question)
	// whatever cannot be read is no
	answer, _ := bufio.NewReader(c.env.Stdin).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}
