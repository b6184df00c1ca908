package admin

import (
	"context"
	"errors"
	"net/url"
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
	switch {
	case len(all.Changes) == 0:
		c.warn("no tool definition waits")
	default:
		c.warn("%s. Serve what is new: hostedmcp tools accept CONNECTOR [TOOL]", many(len(all.Changes), "change"))
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
	if len(all.Changes) > 0 && c.env.Terminal && !c.opt.yes {
		if err := c.printChanges(all); err != nil {
			return err
		}
		if !c.confirm("Serve " + many(len(all.Changes), "changed definition") + " from now on?") {
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
