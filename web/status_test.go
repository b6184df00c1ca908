package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/web"
)

func status(t *testing.T, site web.Site, grants ...auth.PageGrant) document {
	t.Helper()
	p := auth.StatusPage{Token: "end-token", SignOut: "out-token", User: auth.PageUser{Email: "alice@example.com", Subject: "s1"},
		Grants: grants, Tombstone: oauth.Days(90)}
	for _, g := range grants {
		if g.Ended.IsZero() {
			p.Living++
		}
	}
	return show(t, func(w http.ResponseWriter, r *http.Request) error { return newPages(t, site).Auth().Status(w, r, p) })
}

func living(name string) auth.PageGrant {
	return auth.PageGrant{ID: "g-" + name, Client: auth.PageClient{Name: name}, Since: noon.AddDate(0, -8, 0), LastUsed: noon.Add(-12 * time.Minute),
		GoodUntil: noon.AddDate(0, 0, 30), Scopes: []string{"Look things up", "Stay connected"}, State: "Working"}
}

func ended(name string) auth.PageGrant {
	g := living(name)
	g.Ended, g.Reason, g.State, g.Kind, g.Sentence = noon.Add(-time.Hour), oauth.UserRevoked, "Ended", "ended", "You ended it here."
	return g
}

func troubled(name string) auth.PageGrant {
	g := living(name)
	g.Reason, g.State, g.Kind = oauth.UpstreamUnreachable, "Sign-in service not answering", "trouble"
	g.Sentence = "login.example.com has not answered since 11:00 UTC."
	return g
}

func TestStatus(t *testing.T) {
	d := status(t, publicSite(), living("Claude"), living("Codex"), ended("Cursor"))
	d.expect("alice@example.com Sign out", "Claude Working", "Connected 23 Mar 2026", "Last used 12 minutes ago", "Good until 23 Dec 2026",
		"Access Look things up Stay connected", "Cursor Ended You ended it here. user_revoked", "Ended 23 Nov 2026", "Access None",
		"End all 2 connections", "Ended connections stay listed for 90 days.", "Request REQUESTID",
		"ends by itself after 30 days without use, or after one year.")
	forms := map[string]int{}
	for f := range d.all("form") {
		forms[attr(f, "method")+" "+attr(f, "action")]++
	}
	if forms["post /grants/end"] != 3 || forms["post /signout"] != 1 || len(forms) != 2 {
		t.Errorf("forms %v: two connections and all of them, none for the ended one", forms)
	}
	if strings.Count(d.raw, `value="end-token"`) != 3 || strings.Count(d.raw, `value="out-token"`) != 1 || d.value("subject") != "s1" {
		t.Error("form tokens are not where they belong")
	}
	d.refuse("All connections", "What happened", "Next page")
	status(t, publicSite(), living("Claude")).refuse("End all")
	over := status(t, publicSite(), ended("Cursor"))
	over.expect("No program may use Example Corp data with your rights any more.")
	over.refuse("End all", "End Cursor", "Programs that use")
	bare := publicSite()
	bare.Idle = 0
	status(t, bare, living("Claude")).refuse("ends by itself")
}

func TestStatusEmpty(t *testing.T) {
	d := status(t, publicSite())
	d.expect("No program may use Example Corp data with your rights.", "Connect a program")
	d.refuse("End", "stay listed")
}

// TestStatusWords: state, sentence and code stand together, and the shape beside the word is that of its kind.
func TestStatusWords(t *testing.T) {
	unknown := living("Odd") // its time of ending is lost
	unknown.Reason, unknown.State = oauth.UpstreamLost, "Ended"
	unknown.Kind = "ended"
	unclaimed := living("Late")
	unclaimed.State, unclaimed.Sentence = "Not finished", "The program has not come back to finish yet."
	d := status(t, publicSite(), living("Claude"), troubled("Codex"), ended("Cursor"), unknown, unclaimed)
	if strings.Contains(d.raw, "<code class=\"small\"></code>") {
		t.Error("a code of nothing")
	}
	d.expect("Codex Sign-in service not answering login.example.com has not answered since 11:00 UTC. upstream_unreachable", "End Codex")
	d.refuse("End Cursor", "End Odd", "Ended 1 Jan 0001")
	var shapes []string
	for n := range d.all("span") {
		if class := attr(n, "class"); strings.HasPrefix(class, "state") {
			shapes = append(shapes, class+": "+text(n))
		}
	}
	want := "state: Working|state trouble: Sign-in service not answering|state ended: Ended|state ended: Ended|state: Not finished"
	if got := strings.Join(shapes, "|"); got != want {
		t.Errorf("shapes %q", got)
	}
}

// TestStatusStory: what happened, in the order given, each with its time and the code that the log has too.
func TestStatusStory(t *testing.T) {
	g := living("Claude")
	g.Events = []auth.PageEvent{
		{At: noon.Add(-time.Hour), Sentence: "Renewed, for the 2nd time.", Reason: oauth.RefreshOK, Count: 1},
		{At: noon.Add(-26 * time.Hour), Until: noon.Add(-25 * time.Hour), Sentence: "login.example.com did not answer for 1 hour.", Reason: oauth.UpstreamUnreachable, Count: 7},
		{At: noon.Add(-50 * time.Hour), Until: noon.Add(-30 * time.Hour), Sentence: "Renewed 20 times.", Reason: oauth.RefreshOK, Count: 20},
		{At: noon.Add(-51 * time.Hour), Sentence: "You pressed <Allow>.", Reason: oauth.ConsentApproved, Count: 1},
	}
	d := status(t, publicSite(), g)
	d.expect("What happened so far with Claude",
		"23 Nov 2026, 11:00 Renewed, for the 2nd time. refresh_ok 22 Nov 2026, 10:00 to 11:00 login.example.com did not answer for 1 hour. upstream_unreachable",
		"21 Nov 2026, 10:00 to 22 Nov 2026, 06:00 Renewed 20 times. refresh_ok 21 Nov 2026, 09:00 You pressed <Allow>. consent_approved",
		"Times are UTC. Connection g-Claude")
	times := 0
	for n := range d.all("time") {
		if _, err := time.Parse(time.RFC3339, attr(n, "datetime")); err != nil {
			t.Errorf("time %q", attr(n, "datetime"))
		}
		times++
	}
	if times != 9 {
		t.Errorf("%d times", times)
	}
}

// TestAgo: times as a person says them.
func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Minute: "just now", 0: "just now", 59 * time.Second: "just now", time.Minute: "1 minute ago", 12 * time.Minute: "12 minutes ago",
		59*time.Minute + 59*time.Second: "59 minutes ago", time.Hour: "1 hour ago", 23 * time.Hour: "23 hours ago",
		24 * time.Hour: "22 Nov 2026", 8 * 30 * 24 * time.Hour: "28 Mar 2026",
	} {
		g := living("X")
		g.LastUsed = noon.Add(-d).In(time.FixedZone("far away", 14*3600))
		status(t, publicSite(), g).expect("Last used " + want)
	}
	never := living("X")
	never.LastUsed, never.GoodUntil = time.Time{}, time.Time{}
	status(t, publicSite(), never).refuse("Last used", "Good until")
}

// TestWords: lengths of time as a person says them.
func TestWords(t *testing.T) {
	pages := newPages(t, publicSite())
	for d, want := range map[time.Duration]string{
		time.Second: "one second", 90 * time.Second: "90 seconds", time.Minute: "one minute", 90 * time.Minute: "90 minutes",
		time.Hour: "one hour", 8 * time.Hour: "8 hours", 36 * time.Hour: "36 hours", 24 * time.Hour: "one day", 30 * 24 * time.Hour: "30 days",
		365 * 24 * time.Hour: "one year", 730 * 24 * time.Hour: "2 years", 400 * 24 * time.Hour: "400 days",
	} {
		page := auth.SignInPage{Token: "t", SignInTTL: oauth.Duration(d)}
		got := show(t, func(w http.ResponseWriter, r *http.Request) error { return pages.Auth().SignIn(w, r, page) })
		got.expect("Sign in at login.example.com", "You stay signed in on this page for "+want+".")
		if got.value("token") != "t" {
			t.Error("form token missing")
		}
	}
}
