package admin

import (
	"bytes"
	"context"
	"net/url"
	"strconv"
	"strings"

	"hostedmcp/auth/story"
)

// explain prints stories as package story words them.
func explain(ctx context.Context, c *call) error {
	if c.opt.limit < 1 || c.opt.limit > maxStories {
		return wrongUse("-limit must be from 1 to %d", maxStories)
	}
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	// in the query, escaped: a word is whatever somebody has copied from somewhere
	query := url.Values{"word": {c.args[0]}, "limit": {strconv.Itoa(c.opt.limit)}}
	var e explanation
	raw, err := a.get(ctx, "/v1/explain?"+query.Encode(), &e)
	if err != nil {
		return err
	}
	if c.opt.json {
		return c.printJSON(raw)
	}
	return c.printExplanation(e)
}

// printExplanation prints what was asked first: the first line of the output is the answer. Everything about it goes to
// stderr.
func (c *call) printExplanation(e explanation) error {
	for i, s := range append(e.Refused, e.Stories...) {
		if err := c.printStory(i > 0, s); err != nil {
			return err
		}
	}
	if e.More > 0 {
		c.warn("%s of this user are left out: -limit N shows more.", many(e.More, "connection"))
	}
	// log lines hold no subject: who looks for a user there needs the hash
	if e.LogSubject != "" {
		c.warn("Log lines name this user subject=%s.", e.LogSubject)
	}
	if e.NoMemory {
		c.warn("No server is running: requests that were refused before there was a connection are known to a running one only.")
	}
	return nil
}

// printStory prints line by line what package story worded: names in it are those that strangers chose.
func (c *call) printStory(gap bool, s story.Story) error {
	var b bytes.Buffer
	if gap {
		b.WriteByte('\n')
	}
	if err := s.WriteText(&b); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if err := c.say("%s", escapedLine(strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}
