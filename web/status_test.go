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
		GoodUntil: noon.AddDate(0, 0, 30), Scopes: []string{"Look things up", "Stay connected"}}
}

func TestStatus(t *testing.T) {
	ended := living("Cursor")
	ended.Ended, ended.Reason = noon.Add(-time.Hour), oauth.UserRevoked
	d := status(t, publicSite(), living("Claude"), living("Codex"), ended)
	d.expect("alice@example.com Sign out", "Claude Working", "Connected 23 Mar 2026", "Last used 12 minutes ago", "Good until 23 Dec 2026",
		"Access Look things up Stay connected", "Cursor Ended You ended it here. user_revoked", "Ended 23 Nov 2026", "Access None",
		"End all 2 connections", "Ended connections stay listed for 90 days.", "Request REQUESTID")
	forms := map[string]int{}
	for f := range d.all("form") {
		forms[attr(f, "method")+" "+attr(f, "action")]++
	}
	if forms["post /grants/end"] != 3 || forms["post /signout"] != 1 {
		t.Errorf("forms %v: two connections and all of them, none for the ended one", forms)
	}
	if strings.Count(d.raw, `value="end-token"`) != 3 || strings.Count(d.raw, `value="out-token"`) != 1 || d.value("subject") != "s1" {
		t.Error("form tokens are not where they belong")
	}
	status(t, publicSite(), living("Claude")).refuse("End all")
	status(t, publicSite(), ended).refuse("End all", "End Cursor")
}

func TestStatusEmpty(t *testing.T) {
	d := status(t, publicSite())
	d.expect("No program may use Example Corp data with your rights.", "Connect a program")
	d.refuse("End", "stay listed")
}

// TestEndedSentences: every code of the ended group has a sentence of its own, with the site's figures.
func TestEndedSentences(t *testing.T) {
	seen := map[string]oauth.Reason{}
	for _, reason := range oauth.Reasons()[oauth.GroupEnded] {
		g := living("X")
		g.Ended, g.Reason = noon, reason
		d := status(t, publicSite(), g)
		d.expect("X Ended", string(reason))
		sentence := sentenceOf(d)
		if other, twice := seen[sentence]; twice || len(sentence) < 20 || strings.ContainsAny(sentence, "{}") {
			t.Errorf("%s: %q (also %s)", reason, sentence, other)
		}
		seen[sentence] = reason
	}
	for _, want := range []string{
		"It was not used for 30 days. Connect again when you need it. grant_idle",
		"It reached its highest age of one year. Connect again. grant_max_age",
		"You connected this program more than 20 times; this was the one used least. grant_evicted",
		"Your sign-in at login.example.com ran out. Connect again. upstream_session_expired",
	} {
		if _, ok := seen[want]; !ok {
			t.Errorf("no %q", want)
		}
	}
	bare := publicSite()
	bare.Idle, bare.MaxAge, bare.GrantsPerUser = 0, 0, 0
	for reason, want := range map[oauth.Reason]string{
		oauth.GrantIdle: "not used for too long.", oauth.GrantMaxAge: "its highest age. Connect", oauth.GrantEvicted: "this program too many times;",
	} {
		g := living("X")
		g.Ended, g.Reason = noon, reason
		status(t, bare, g).expect(want)
	}
}

func sentenceOf(d document) string {
	for n := range d.all("article") {
		for c := range n.ChildNodes() {
			if c.Data == "p" {
				return text(c)
			}
		}
	}
	return ""
}

// TestTroubleSentences: the person stays connected and is told so, unless the sentence says otherwise.
func TestTroubleSentences(t *testing.T) {
	fallback := map[oauth.Reason]bool{}
	for _, reason := range oauth.Reasons()[oauth.GroupTrouble] {
		g := living("X")
		g.Reason, g.Trouble, g.Until = reason, noon.Add(-time.Hour), noon.Add(23*time.Hour)
		d := status(t, publicSite(), g)
		d.expect("End X", string(reason))
		d.refuse("In trouble", "X Working Connected")
		quiet := reason == oauth.SubjectChanged || strings.HasPrefix(string(reason), "connector_")
		if d.says("You stay connected until 24 November, 11:00 UTC, and there is nothing you need to do.") == quiet {
			t.Errorf("%s: promise %t: %s", reason, !quiet, sentenceOf(d))
		}
		fallback[reason] = d.says("Something is wrong")
		if fallback[reason] {
			t.Errorf("%s has no sentence", reason)
		}
	}
	g := living("X")
	g.Reason, g.Trouble, g.Until = oauth.UpstreamUnreachable, noon.Add(-time.Hour), noon.Add(23*time.Hour)
	status(t, publicSite(), g).expect("Sign-in service not answering", "login.example.com has not answered since 11:00 UTC.")
	g.Trouble, g.Until = time.Time{}, time.Time{}
	status(t, publicSite(), g).expect("login.example.com has not answered. You stay connected, and")
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
