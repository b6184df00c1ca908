package admin

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"

	"hostedmcp/storage"
)

// Tool definitions that changed since they were accepted, and their acceptance. A server that runs is asked, since it
// then serves them at once; the store knows the same.

func (d *Door) diffTools(x *exchange) error {
	all, err := d.changes()
	if err != nil {
		return err
	}
	a := changes{Changes: []Change{}}
	connector := x.r.URL.Query().Get("connector")
	for _, c := range all {
		if connector == "" || c.Connector == connector {
			a.Changes = append(a.Changes, c)
		}
	}
	slices.SortFunc(a.Changes, func(c, e Change) int {
		return cmp.Or(cmp.Compare(c.Connector, e.Connector), cmp.Compare(c.Tool, e.Tool))
	})
	return x.answer(a)
}

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

func (d *Door) acceptTools(x *exchange) error {
	var in struct {
		Connector string `json:"connector"`
		Tool      string `json:"tool"` // "" = all of the connector
	}
	if err := x.read(&in); err != nil {
		return err
	}
	if in.Connector == "" {
		return refuse(http.StatusBadRequest, "name the connector: hostedmcp tools diff shows them")
	}
	n, err := d.accept(x.r.Context(), in.Connector, in.Tool)
	if errors.Is(err, storage.ErrNotFound) || err == nil && n == 0 {
		return refuse(http.StatusNotFound, "no change waits there: hostedmcp tools diff shows those that do")
	}
	if err != nil {
		return err
	}
	x.note("connector", in.Connector)
	x.note("accepted", n)
	return x.answer(accepted{n})
}

func (d *Door) accept(ctx context.Context, connector, tool string) (int, error) {
	if d.o.Tools.Accept != nil {
		return d.o.Tools.Accept(ctx, connector, tool)
	}
	pins, err := d.o.Store.AcceptPins(ctx, connector, tool)
	return len(pins), err
}
