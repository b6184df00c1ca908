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
)

// Tool definitions that changed since they were accepted, and their acceptance. A server that runs is asked, since it
// then serves them at once; the store knows the same.

// diffTools answers with every change that waits, in a fixed order.
func (d *Door) diffTools(x *exchange) error {
	q := x.r.URL.Query()
	waiting, err := d.waiting(q.Get("connector"), q.Get("tool"))
	if err != nil {
		return err
	}
	return x.answer(changes{Changes: waiting, Digest: digest(waiting)})
}

// waiting are the changes of one connector and tool; "" = of all.
func (d *Door) waiting(connector, tool string) ([]Change, error) {
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
		if len(p.Offered) > 0 {
			out = append(out, Change{Connector: p.Connector, Tool: p.Tool, Accepted: p.Definition, Offered: p.Offered, At: p.Changed.UTC()})
		}
	}
	return out, nil
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
	waiting, err := d.waiting(in.Connector, in.Tool)
	switch {
	case err != nil:
		return err
	case len(waiting) == 0:
		return refuse(http.StatusNotFound, "no change waits there: hostedmcp tools diff shows those that do")
	case in.Digest != digest(waiting):
		return refuse(http.StatusConflict, "what the connector offers has changed again: look at it with hostedmcp tools diff")
	}
	n, err := d.accept(x.r.Context(), in.Connector, in.Tool, waiting)
	switch {
	case err != nil:
		return err
	case n < len(waiting): // in the moment since they were compared
		return refuse(http.StatusConflict, "what the connector offers has changed again: look at it with hostedmcp tools diff")
	}
	x.note("connector", in.Connector)
	x.note("accepted", n)
	return x.answer(accepted{n})
}

// accept lets the server do it if there is one, which then tells its clients that the list has changed.
func (d *Door) accept(ctx context.Context, connector, tool string, waiting []Change) (int, error) {
	if d.o.Tools.Accept != nil {
		seen := map[string]json.RawMessage{}
		for _, c := range waiting {
			seen[c.Tool] = c.Offered
		}
		return d.o.Tools.Accept(ctx, connector, seen)
	}
	// nobody lists tools beside a closed file
	pins, err := d.o.Store.AcceptPins(ctx, connector, tool)
	return len(pins), err
}
