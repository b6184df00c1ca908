package admin

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// diffTools prints what an operator has to judge: a tool's text is what an agent believes.
func diffTools(ctx context.Context, c *call) error {
	connector := ""
	if len(c.args) == 1 {
		connector = c.args[0]
	}
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	all, raw, err := a.changes(ctx, connector, "")
	if err != nil {
		return err
	}
	if c.opt.json {
		return c.printJSON(raw)
	}
	if err := c.printChanges(all); err != nil {
		return err
	}
	// on stderr: the output is the diff, and empty without one
	if n := all.waiting(); n == 0 {
		c.warn("no tool definition waits")
	} else {
		c.warn("%s. Serve what is new: hostedmcp tools accept CONNECTOR [TOOL]", many(n, "change"))
	}
	if n := all.hidden(); n > 0 {
		c.warn("%s with characters that nobody sees, and a model reads: ask the connector's owner", many(n, "definition"))
	}
	return nil
}

// changes asks for what waits.
func (a *client) changes(ctx context.Context, connector, tool string) (all changes, raw []byte, err error) {
	query := url.Values{"connector": {connector}, "tool": {tool}}
	raw, err = a.get(ctx, "/v1/tools?"+query.Encode(), &all)
	return all, raw, err
}

// printChanges prints them whole, however long: a part that is left out is the part where something hides.
func (c *call) printChanges(all changes) error {
	for i, change := range all.Changes {
		if i > 0 {
			if err := c.say(""); err != nil {
				return err
			}
		}
		for _, line := range diffDefinitions(change) {
			if err := c.say("%s", line); err != nil {
				return err
			}
		}
	}
	return nil
}

// acceptTools shows a person what is about to be served, and asks. What is accepted is exactly what was read here.
func acceptTools(ctx context.Context, c *call) error {
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	body := map[string]string{"connector": c.args[0], "tool": ""}
	if len(c.args) == 2 {
		body["tool"] = c.args[1]
	}
	all, _, err := a.changes(ctx, body["connector"], body["tool"])
	if err != nil {
		return err
	}
	if n := all.waiting(); n > 0 && c.env.Terminal && !c.opt.yes {
		if err := c.printChanges(all); err != nil {
			return err
		}
		if !c.confirm("Serve " + many(n, "changed definition") + " from now on?") {
			return errors.New("nothing was accepted")
		}
	}
	// In a pipe nobody has looked just now, and yet the digest holds: what changes in this moment waits for the next look.
	body["digest"] = all.Digest
	var n accepted
	raw, err := a.post(ctx, "/v1/tools", body, &n)
	switch {
	case err != nil:
		return err
	case c.opt.json:
		return c.printJSON(raw)
	}
	return c.say("Accepted %s.", many(n.Accepted, "definition"))
}

// listTools prints what is pinned.
func listTools(ctx context.Context, c *call) error {
	query := url.Values{}
	if len(c.args) == 1 {
		query.Set("connector", c.args[0])
	}
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	var all toolList
	raw, err := a.get(ctx, "/v1/tools/list?"+query.Encode(), &all)
	switch {
	case err != nil:
		return err
	case c.opt.json:
		return c.printJSON(raw)
	case len(all.Tools) == 0:
		c.warn("no tool is pinned: a connector's tools are when they are first listed")
		return nil
	}
	var rows [][]string
	for _, t := range all.Tools {
		// what is hidden comes last: it may be long
		rows = append(rows, []string{
			t.Connector, t.Tool, t.State, strconv.Itoa(t.Accepted), c.clock(t.Seen), c.clock(t.Changed), strings.Join(t.Hidden, ", "),
		})
	}
	return c.table([]string{"CONNECTOR", "TOOL", "STATE", "ACCEPTED", "SEEN", "CHANGED", "HIDDEN CHARACTERS"}, rows)
}

// forgetTools asks a person first: what is forgotten is served unread when it comes again.
func forgetTools(ctx context.Context, c *call) error {
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	body := map[string]string{"connector": c.args[0], "tool": ""}
	what := "what is pinned of " + shown(c.args[0])
	if len(c.args) == 2 {
		body["tool"] = c.args[1]
		what = shown(c.args[1]) + " of " + shown(c.args[0])
	}
	if c.env.Terminal && !c.opt.yes && !c.confirm("Forget "+what+"? What it offers next is served without a look.") {
		return errors.New("nothing was forgotten")
	}
	var done forgotten
	raw, err := a.post(ctx, "/v1/tools/forget", body, &done)
	switch {
	case err != nil:
		return err
	case c.opt.json:
		return c.printJSON(raw)
	}
	if done.Waiting > 0 {
		c.warn("Kept: %s, to be read first (hostedmcp tools diff) or forgotten by name.", many(done.Waiting, "tool")+" that a change waits for")
	}
	return c.say("Forgot %s.", many(done.Forgotten, "tool"))
}
