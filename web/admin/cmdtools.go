package admin

import (
	"context"
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
	var all changes
	raw, err := a.get(ctx, "/v1/tools?connector="+url.QueryEscape(connector), &all)
	if err != nil {
		return err
	}
	if c.opt.json {
		return c.printJSON(raw)
	}
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
	switch {
	case len(all.Changes) == 0:
		c.warn("no tool definition waits")
	default:
		c.warn("%s. Serve what is new: hostedmcp tools accept CONNECTOR [TOOL]", many(len(all.Changes), "change"))
	}
	return nil
}

func acceptTools(ctx context.Context, c *call) error {
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	body := map[string]string{"connector": c.args[0]}
	if len(c.args) == 2 {
		body["tool"] = c.args[1]
	}
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
