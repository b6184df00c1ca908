package admin_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/NAME: what -json prints is read by programs, and changes only on purpose.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestListGrants(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		tests := []struct {
			name string
			args []string
			want []string // ids, in order
		}{
			{"all", nil, []string{idAlice, idAlice2, idEnded, idBob, idMallory}},
			{"one page of several", []string{"-limit", "2"}, []string{idAlice, idAlice2}},
			{"of a subject", []string{"-subject", "bob"}, []string{idBob}},
			{"of an address, in whatever case", []string{"-subject", "Alice@Example.COM"}, []string{idAlice, idAlice2, idEnded}},
			{"of a client's name", []string{"-client", "curs"}, []string{idAlice2}},
			{"of a client's id", []string{"-client", "hmcp_ci_evil"}, []string{idMallory}},
			{"living", []string{"-state", "living", "-subject", "alice"}, []string{idAlice, idAlice2}},
			{"ended", []string{"-state", "ended"}, []string{idEnded}},
			{"of nobody", []string{"-subject", "nobody"}, nil},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				got := r.run(append([]string{"grants", "list"}, tt.args...)...)
				if got.code != 0 {
					t.Fatalf("code %d: %s", got.code, got.err)
				}
				if ids := firstColumn(got.out); strings.Join(ids, " ") != strings.Join(tt.want, " ") {
					t.Errorf("got %v, want %v", ids, tt.want)
				}
				var page struct {
					Grants []struct{ ID string } `json:"grants"`
				}
				if got = r.run(append([]string{"grants", "list", "-json"}, tt.args...)...); json.Unmarshal([]byte(got.out), &page) != nil {
					t.Fatalf("no JSON: %s", got.out)
				}
				if len(page.Grants) != len(tt.want) {
					t.Errorf("-json has %d, want %d", len(page.Grants), len(tt.want))
				}
			})
		}
		golden(t, "list.json", r.run("grants", "list", "-json").out)
		golden(t, "list.txt", r.run("grants", "list").out)
		r.env.Terminal = true
		golden(t, "list.tty", r.run("grants", "list").out)
	})
}

// firstColumn is the first cell of each line behind the header.
func firstColumn(out string) (cells []string) {
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		cell, _, _ := strings.Cut(line, "\t")
		if i > 0 {
			cells = append(cells, cell)
		}
	}
	return cells
}

// A page holds at most 200: more are read page by page, under one header.
func TestListManyGrants(t *testing.T) {
	r := newRig(t)
	for i := range 230 {
		id := strings.Repeat("A", 23) + string([]byte{'A' + byte(i/100), 'A' + byte(i/10%10), 'A' + byte(i%10)})
		r.connect(id, "many", "Many", "many@example.com", "c", "C")
	}
	r.serve()
	for _, tt := range []struct {
		args []string
		want int
		more bool
	}{
		{[]string{"-all", "-subject", "many"}, 230, false},
		{[]string{"-limit", "210", "-subject", "many"}, 210, true},
		{[]string{"-limit", "230", "-subject", "many"}, 230, false},
	} {
		got := r.run(append([]string{"grants", "list"}, tt.args...)...)
		if n := len(firstColumn(got.out)); n != tt.want || strings.Count(got.out, "SINCE") != 1 {
			t.Errorf("%v: %d lines, want %d under one header", tt.args, n, tt.want)
		}
		if strings.Contains(got.err, "there are more") != tt.more {
			t.Errorf("%v: said %q", tt.args, got.err)
		}
		var page struct {
			Grants []json.RawMessage
			Next   string
		}
		got = r.run(append([]string{"grants", "list", "-json"}, tt.args...)...)
		if err := json.Unmarshal([]byte(got.out), &page); err != nil || len(page.Grants) != tt.want || (page.Next != "") != tt.more {
			t.Errorf("%v: -json has %d, next %q: %v", tt.args, len(page.Grants), page.Next, err)
		}
	}
}

func TestShowGrant(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		golden(t, "show.json", r.run("grants", "show", idAlice, "-json").out)
		golden(t, "show.txt", r.run("grants", "show", idAlice).out)
		r.env.Terminal = true
		golden(t, "show.tty", r.run("grants", "show", idEnded).out)
		r.env.Terminal = false
		got := r.run("grants", "show", "NOBODY\x1b[31m")
		if got.code != 1 {
			t.Errorf("code %d", got.code)
		}
		has(t, got.err, "no connection has the id NOBODY[31m", "hostedmcp grants list")
		for _, id := range []string{"..", ".", "", "a/b", idAlice + "/end", "%2e%2e"} {
			if got := r.run("grants", "show", id); got.code != 1 || !strings.Contains(got.err, "no connection has the id") {
				t.Errorf("%q: %+v", id, got)
			}
			if got := r.run("grants", "end", id); got.code != 1 || !strings.Contains(got.err, "no connection has the id") {
				t.Errorf("%q: %+v", id, got)
			}
		}
	})
}

func TestEndGrant(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		got := r.run("grants", "end", idBob)
		if got.code != 0 || got.out != "Ended 1 connection.\n" {
			t.Fatalf("%+v", got)
		}
		if closed := r.stop == nil; strings.Contains(got.err, "when the server is started") != closed {
			t.Errorf("said %q", got.err)
		}
		if g := r.grantNow(idBob); g.Ended != oauth.AdminRevoked {
			t.Errorf("ended by %q", g.Ended)
		}
		// what has ended already is as it was asked for, and stays as it is
		got = r.run("grants", "end", idEnded)
		if got.code != 0 {
			t.Fatalf("%+v", got)
		}
		has(t, got.out, "had ended already", "upstream_session_ended")
		if g := r.grantNow(idEnded); g.Ended != oauth.UpstreamSessionEnded {
			t.Errorf("ended by %q", g.Ended)
		}
		if got = r.run("grants", "end", "NOBODY"); got.code != 1 {
			t.Errorf("%+v", got)
		}
		golden(t, "end.json", r.run("grants", "end", idAlice, "-json").out)
	})
}

// The operation's request id stands in the journal, so that explain finds it.
func TestEndIsInTheJournal(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.run("grants", "end", idBob)
		var a struct {
			Stories []struct {
				Lines []struct{ Reason, Request string }
			}
		}
		if got := r.run("explain", "bob", "-json"); json.Unmarshal([]byte(got.out), &a) != nil || len(a.Stories) != 1 {
			t.Fatalf("%+v", got)
		}
		last := a.Stories[0].Lines[len(a.Stories[0].Lines)-1]
		if last.Reason != "admin_revoked" || len(last.Request) != 26 {
			t.Fatalf("last event %+v", last)
		}
		if got := r.run("explain", last.Request); got.code != 0 || !strings.HasPrefix(got.out, "admin_revoked: ") {
			t.Errorf("%+v", got)
		}
	})
}

func TestEndSubject(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		got := r.run("grants", "end", "-subject", "ALICE@example.com")
		if got.code != 0 || got.out != "Ended 2 connections.\n" {
			t.Fatalf("%+v", got)
		}
		has(t, got.err, "alice (Alice Example, alice@example.com) has 2 living connections")
		for id, want := range map[string]oauth.Reason{
			idAlice: oauth.AdminRevoked, idAlice2: oauth.AdminRevoked, idEnded: oauth.UpstreamSessionEnded, idBob: "",
		} {
			if g := r.grantNow(id); g.Ended != want {
				t.Errorf("%s ended by %q, want %q", id, g.Ended, want)
			}
		}
		got = r.run("grants", "end", "-subject", "alice")
		if got.code != 0 || got.out != "Ended 0 connections.\n" {
			t.Errorf("%+v", got)
		}
		got = r.run("grants", "end", "-subject", "exam")
		if got.code != 1 {
			t.Errorf("%+v", got)
		}
		has(t, got.err, "nothing is known of exam", "did you mean the user", "bob")
	})
}

// A person is asked once; only yes ends anything. A script is not asked.
func TestEndSubjectAsks(t *testing.T) {
	for _, tt := range []struct {
		name, input string
		terminal    bool
		args        []string
		ends        bool
	}{
		{"no", "n\n", true, nil, false},
		{"return", "\n", true, nil, false},
		{"end of input", "", true, nil, false},
		{"yes", "YES\n", true, nil, true},
		{"y", "y\n", true, nil, true},
		{"-yes", "", true, []string{"-yes"}, true},
		{"in a pipe", "n\n", false, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.serve()
			r.env.Terminal, r.input = tt.terminal, tt.input
			got := r.run(append([]string{"grants", "end", "-subject", "bob"}, tt.args...)...)
			if ended := r.grantNow(idBob).Ended != ""; ended != tt.ends || (got.code == 0) != tt.ends {
				t.Errorf("ended %v: %+v", ended, got)
			}
		})
	}
}

// An address that two people have had ends nobody until the operator says which.
func TestEndAmbiguousAddress(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		if r.store == nil {
			r.open()
			r.connect("TWINAAAAAAAAAAAAAAAAAAAAAA", "bob2", "Bob Second", "bob@example.com", "c", "C")
			r.close()
		} else {
			r.connect("TWINAAAAAAAAAAAAAAAAAAAAAA", "bob2", "Bob Second", "bob@example.com", "c", "C")
		}
		got := r.run("grants", "end", "-subject", "bob@example.com")
		if got.code != 1 || r.grantNow(idBob).Ended != "" {
			t.Errorf("%+v", got)
		}
		has(t, got.err, "belongs to 2 users: name the subject: ", "bob", "bob2")
	})
}
