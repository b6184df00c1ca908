package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"hostedmcp/storage"
)

// Tool definitions as they are pinned: those that changed since they were accepted, their acceptance, and forgetting
// them. A server that runs is asked, since it then serves them at once; the store knows the same.

// diffTools answers with every change that waits and every definition with hidden characters, in a fixed order.
func (d *Door) diffTools(x *exchange) error {
	q := x.r.URL.Query()
	found, err := d.changesOf(q.Get("connector"), q.Get("tool"))
	if err != nil {
		return err
	}
	return x.answer(changes{Changes: found, Digest: digest(waiting(found))})
}

// changesOf are those of one connector and tool; "" = of all.
func (d *Door) changesOf(connector, tool string) ([]Change, error) {
	all, err := d.changes()
	if err != nil {
		return nil, err
	}
	out := []Change{}
	for _, c := range all {
		if (connector == "" || c.Connector == connector) && (tool == "" || c.Tool == tool) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(c, e Change) int {
		return cmp.Or(cmp.Compare(c.Connector, e.Connector), cmp.Compare(c.Tool, e.Tool))
	})
	return out, nil
}

// waiting are the changes that an operator can accept.
func waiting(all []Change) (out []Change) {
	for _, c := range all {
		if len(c.Offered) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// digest names what was looked at. It is of the definitions as they came: one more space is another one.
func digest(waiting []Change) string {
	h := sha256.New()
	for _, c := range waiting {
		for _, part := range [][]byte{[]byte(c.Connector), []byte(c.Tool), c.Offered} {
			fmt.Fprintf(h, "%d:", len(part)) // no part can pass for two
			h.Write(part)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// changes asks who knows. In the store a tool without an offered definition is one that has not changed.
func (d *Door) changes() ([]Change, error) {
	if d.o.Tools.Diff != nil {
		return d.o.Tools.Diff()
	}
	pins, err := d.o.Store.Pins("")
	if err != nil {
		return nil, err
	}
	var out []Change
	for _, p := range pins {
		c := Change{Connector: p.Connector, Tool: p.Tool, Hidden: d.hidden(p)}
		if len(p.Offered) > 0 {
			c.Accepted, c.Offered, c.At = p.Definition, p.Offered, p.Changed.UTC()
		}
		if c.Offered != nil || c.Hidden != nil {
			out = append(out, c)
		}
	}
	return out, nil
}

// hidden looks at the newest definition of a tool.
func (d *Door) hidden(p storage.Pin) []string {
	switch {
	case d.o.Hidden == nil:
		return nil
	case len(p.Offered) > 0:
		return d.o.Hidden(p.Offered)
	}
	return d.o.Hidden(p.Definition)
}

// listTools answers with every pin. The store has them all: a server stores each list that it has read.
func (d *Door) listTools(x *exchange) error {
	pins, err := d.o.Store.Pins(x.r.URL.Query().Get("connector"))
	if err != nil {
		return err
	}
	out := toolList{Tools: []toolLine{}}
	for _, p := range pins {
		l := toolLine{Connector: p.Connector, Tool: p.Tool, State: "served", Accepted: 1 + len(p.Also), Seen: p.Seen, Changed: p.Changed, Hidden: d.hidden(p)}
		if len(p.Offered) > 0 {
			l.State = "withheld"
		}
		out.Tools = append(out.Tools, l)
	}
	return x.answer(out)
}

// errChanged is for an operator whose word came too late.
func errChanged() error {
	return refuse(http.StatusConflict, "what the connector offers has changed again: look at it with hostedmcp tools diff")
}

// acceptTools answers how many definitions are served anew. None at all is an error: the operator meant something. The
// digest is that of what the operator has seen: a connector that changes its mind between the look and the word would
// otherwise be served unseen.
func (d *Door) acceptTools(x *exchange) error {
	var in struct {
		Connector string `json:"connector"`
		Tool      string `json:"tool"` // "" = all of the connector
		Digest    string `json:"digest"`
	}
	if err := x.read(&in); err != nil {
		return err
	}
	if in.Connector == "" {
		return refuse(http.StatusBadRequest, "name the connector: hostedmcp tools diff shows them")
	}
	found, err := d.changesOf(in.Connector, in.Tool)
	wait := waiting(found)
	switch {
	case err != nil:
		return err
	case len(wait) == 0:
		return refuse(http.StatusNotFound, "no change waits there: hostedmcp tools diff shows those that do")
	case in.Digest != digest(wait):
		return errChanged()
	}
	n, err := d.accept(x.r.Context(), in.Connector, in.Tool, wait)
	x.note("connector", in.Connector)
	x.note("accepted", n)
	switch {
	case err != nil:
		return err
	case n < len(wait): // in the moment since they were compared
		return errChanged()
	}
	return x.answer(accepted{n})
}

// accept lets the server do it if there is one, which then tells its clients that the list has changed.
func (d *Door) accept(ctx context.Context, connector, tool string, wait []Change) (int, error) {
	if d.o.Tools.Accept != nil {
		seen := map[string]json.RawMessage{}
		for _, c := range wait {
			seen[c.Tool] = c.Offered
		}
		return d.o.Tools.Accept(ctx, connector, seen)
	}
	// nobody lists tools beside a closed file
	pins, err := d.o.Store.AcceptPins(ctx, connector, tool)
	return len(pins), err
}

// forgetTools answers how many pins were dropped. A tool that a change waits for must be named: otherwise whoever makes
// room would accept that change unread, as the next first sight.
func (d *Door) forgetTools(x *exchange) error {
	var in struct {
		Connector string `json:"connector"`
		Tool      string `json:"tool"` // "" = all of the connector that no change waits for
	}
	if err := x.read(&in); err != nil {
		return err
	}
	if in.Connector == "" {
		return refuse(http.StatusBadRequest, "name the connector: hostedmcp tools list shows them")
	}
	n, err := d.forget(x.r.Context(), in.Connector, in.Tool)
	if err != nil {
		return err
	}
	left, err := d.o.Store.Pins(in.Connector)
	if err != nil {
		return err
	}
	kept := 0 // changes that wait
	for _, p := range left {
		if len(p.Offered) > 0 && in.Tool == "" {
			kept++
		}
	}
	if n+kept == 0 {
		return refuse(http.StatusNotFound, "nothing is pinned there: hostedmcp tools list shows what is")
	}
	x.note("connector", in.Connector)
	x.note("forgotten", n)
	return x.answer(forgotten{n, kept})
}

// forget lets the server do it if it has the connector. The store is enough for one that was taken out of the
// configuration, and on a closed file.
func (d *Door) forget(ctx context.Context, connector, tool string) (int, error) {
	if d.o.Tools.Forget != nil {
		if n, mounted, err := d.o.Tools.Forget(ctx, connector, tool); mounted || err != nil {
			return n, err
		}
	}
	pins, err := d.o.Store.Pins(connector)
	if err != nil {
		return 0, err
	}
	var drop []storage.Pin
	for _, p := range pins {
		if tool == "" && len(p.Offered) == 0 || tool != "" && p.Tool == tool {
			drop = append(drop, storage.Pin{Connector: p.Connector, Tool: p.Tool})
		}
	}
	if len(drop) == 0 {
		return 0, nil
	}
	return len(drop), d.o.Store.SavePins(ctx, drop)
}
