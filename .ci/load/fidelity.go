package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// fidelity hands the corpus through both kinds of mount, with both eras on both sides.
func fidelity(r *run) error {
	for _, mounted := range eras {
		s := r.site
		srv, err := r.serve("fidelity-"+mounted, mountHTTP("web", s.mounted[mounted+" corpus"].URL, "none"),
			mountStdio("pipe", "none", s.self, "child", "stdio", mounted, "corpus"))
		if err != nil {
			return err
		}
		people, err := r.logIn(1)
		if err != nil {
			return err
		}
		for _, era := range eras {
			if err := r.same(people[0], mounted, era); err != nil {
				return err
			}
		}
		srv.stop()
	}
	return nil
}

// same compares all definitions and results for one client.
func (r *run) same(u *user, mounted, era string) error {
	ctx := context.Background()
	modern, where := era == "modern", mounted+" connectors, "+era+" client"
	if !modern {
		st, err := u.open(ctx)
		if err != nil {
			return err
		}
		defer u.close(st)
	}
	a, err := u.send(ctx, &request{modern: modern, id: "7", method: "tools/list", session: u.sessionFor(modern)})
	if err != nil {
		return err
	}
	listed := definitions(a.last.Result)
	for _, name := range []string{"web", "pipe"} {
		each(len(corpus()), 8, func(i int) {
			full := fmt.Sprintf("%s__tool_%d", name, i)
			want := strings.Replace(corpus()[i].definition, fmt.Sprintf(`"name" : "tool_%d"`, i), `"name":"`+full+`"`, 1)
			r.equal(where+", definition of "+full, listed[full], compact(want))
			a, err := u.send(ctx, &request{modern: modern, id: fmt.Sprint(7 + i), method: "tools/call", name: full, session: u.sessionFor(modern),
				params: fmt.Sprintf(`"name":"%s","arguments":{"n":%d}`, full, i)})
			if err != nil || a.last.Result == nil {
				r.fault("%s, %s: %v %v", where, full, err, a)
				return
			}
			r.equal(where+", result of "+full, string(withoutEra(a.last.Result)), compact(corpus()[i].result))
		})
	}
	r.say("%s: %d definitions and %d results through each mount", where, corpusSize, corpusSize)
	return nil
}

func (r *run) equal(what, got, want string) {
	if got != want {
		r.fault("%s:\n   got %s\n  want %s", what, got, want)
	}
}

// definitions returns the tools of a list by name, each as it came.
func definitions(list json.RawMessage) map[string]string {
	var l struct{ Tools []json.RawMessage }
	json.Unmarshal(list, &l)
	out := map[string]string{}
	for _, raw := range l.Tools {
		var d struct{ Name string }
		json.Unmarshal(raw, &d)
		out[d.Name] = string(raw)
	}
	return out
}

// compact takes away insignificant white space, and nothing else.
func compact(s string) string {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		panic(fmt.Sprintf("%v: %s", err, s)) // the corpus is at fault
	}
	return b.String()
}

// withoutEra returns a result without the members that belong to the era: resultType, ttlMs, cacheScope, nextCursor and
// the serverInfo of `_meta`.
func withoutEra(result []byte) []byte {
	return without(result, func(name string, value []byte) []byte {
		switch name {
		case `"resultType"`, `"ttlMs"`, `"cacheScope"`, `"nextCursor"`:
			return nil
		case `"_meta"`:
			meta := without(value, func(name string, value []byte) []byte {
				if name == `"io.modelcontextprotocol/serverInfo"` {
					return nil
				}
				return value
			})
			if len(meta) == len("{}") {
				return nil
			}
			return meta
		}
		return value
	})
}

// without writes an object anew with the members that keep returns; each name and value stays as it stands.
func without(object []byte, keep func(name string, value []byte) []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return object
	}
	out := []byte("{")
	for d.More() {
		at := d.InputOffset()
		if _, err := d.Token(); err != nil {
			return object
		}
		name := strings.TrimLeft(string(object[at:d.InputOffset()]), ", ")
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return object
		}
		if value = keep(name, value); value == nil {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}')
}
