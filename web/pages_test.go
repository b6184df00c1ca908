package web_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/web"
)

func consentOf(c auth.PageClient) auth.ConsentPage {
	p := auth.ConsentPage{
		Client: c, Ticket: "hmcp_tk_T<", Token: "form-token", Scopes: []string{"Look things up"}, Scope: "mcp offline_access",
		Resource: "https://mcp.example.com/mcp", RedirectURI: "https://claude.ai/cb?a=1&b=2", RedirectHost: "claude.ai",
		Idle: oauth.Days(30), MaxAge: oauth.Days(365),
	}
	if c.Loopback {
		p.RedirectURI, p.RedirectHost = "http://127.0.0.1:53121/callback", "127.0.0.1"
	}
	if c.PrivateUse {
		p.RedirectURI, p.RedirectHost, p.Scheme = "cursor://anysphere.cursor-mcp/oauth/callback", "", "cursor"
	}
	return p
}

// TestConsent: who asks, where the answer goes and how we know, in every variant (protocol.md §4.3).
func TestConsent(t *testing.T) {
	pages := newPages(t, publicSite())
	const unchecked, warning = "Nobody has checked it.", "Any program on this computer could receive the answer."
	for _, c := range []struct {
		what           string
		client         auth.PageClient
		expect, refuse []string
	}{
		{"registered", auth.PageClient{Name: "Codex", Registered: true},
			[]string{"Let “Codex” use Example Corp data?", unchecked, "just started this yourself"}, []string{warning, "Known", "published by"}},
		{"document", auth.PageClient{Name: "Claude", Document: true, Host: "claude.ai"},
			[]string{"“Claude”, published by claude.ai", "The address claude.ai was checked."}, []string{warning, unchecked}},
		{"built in", auth.PageClient{Name: "Claude", BuiltIn: true, Host: "claude.ai", CopyDate: "2026-11-02"},
			[]string{"claude.ai could not be reached", "2 November 2026"}, []string{"was checked"}},
		{"known", auth.PageClient{Name: "Report", Known: true},
			[]string{"Let Report use", "Known Registered by the administrators of Example Corp data."}, []string{"“Report”", unchecked}},
		{"loopback", auth.PageClient{Name: "Codex", Registered: true, Loopback: true},
			[]string{warning, "in “Codex”, on this computer", "A program on this computer 127.0.0.1", unchecked}, []string{"just started"}},
		{"private use", auth.PageClient{Name: "Cursor", Registered: true, PrivateUse: true},
			[]string{warning, "The program on this computer that opens cursor: links"}, nil},
		{"document and loopback", auth.PageClient{Name: "Claude Code", Document: true, Host: "claude.ai", Loopback: true},
			[]string{warning, "The name belongs to claude.ai, but any program on this computer can use it."}, []string{"was checked"}},
		{"known and loopback", auth.PageClient{Name: "Report", Known: true, Loopback: true}, []string{warning, "Known"}, []string{"“Report”"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := consentOf(c.client)
			d := show(t, func(w http.ResponseWriter, r *http.Request) error { return pages.Auth().Consent(w, r, p) })
			d.expect(append(c.expect, "Look things up", "Next you sign in at login.example.com",
				"after 30 days without use, or after one year.", p.RedirectURI, p.Scope, p.Resource, "Request REQUESTID")...)
			d.refuse(append(c.refuse, "This page had been open", "Where")...)
			if d.value("ticket") != p.Ticket || d.value("token") != p.Token || d.Get("Cache-Control") != "no-store" {
				t.Errorf("form: %q %q; %v", d.value("ticket"), d.value("token"), d.Header)
			}
			var answers []string
			for b := range d.all("button") {
				answers = append(answers, attr(b, "name")+"="+attr(b, "value"))
			}
			if strings.Join(answers, " ") != "answer=approve answer=deny" {
				t.Errorf("answers %q", answers)
			}
		})
	}
}

func TestConsentRenewedAndConnectors(t *testing.T) {
	site := publicSite()
	site.Connectors = []web.Connector{{Title: "CRM"}, {Title: "Warehouse", ReadOnly: true}}
	p := consentOf(auth.PageClient{Name: "Codex", Registered: true})
	p.Renewed = true
	d := show(t, func(w http.ResponseWriter, r *http.Request) error { return newPages(t, site).Consent(w, r, p) })
	d.expect("This page had been open for a while.", "Where CRM read and change Warehouse read only")
}

// TestHostileNames: what a stranger says of itself stays text, in quotation marks, and turns nothing around it.
func TestHostileNames(t *testing.T) {
	pages := newPages(t, publicSite())
	for _, name := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, "Claude\u202e\u2066live", "x” Registered by the administrators",
		"</title><script>x</script>", "{.Site}", "a\u200b\u00adb", strings.Repeat("W", 5000),
	} {
		p := consentOf(auth.PageClient{Name: name, Registered: true, Loopback: true, ID: name})
		p.Scopes, p.Scope, p.RedirectHost, p.Ticket = []string{name}, name, name, name
		d := show(t, func(w http.ResponseWriter, r *http.Request) error { return pages.Consent(w, r, p) })
		for b := range d.all("bdi") {
			if got := text(b); got != strings.Join(strings.Fields(oauth.DisplayText(name, 100)), " ") {
				t.Errorf("%.20q: shown as %.40q", name, got)
			}
			if before := b.PrevSibling; before == nil || !strings.HasSuffix(before.Data, "“") {
				t.Errorf("%.20q: not in quotation marks", name)
			}
		}
		if strings.ContainsAny(d.text("title")+d.text("h1"), "\u202e\u2066\u200b") {
			t.Errorf("%q turns its surroundings", name)
		}
		s := show(t, func(w http.ResponseWriter, r *http.Request) error {
			return pages.Status(w, r, auth.StatusPage{User: auth.PageUser{Email: name, Subject: name}, Living: 2,
				Grants: []auth.PageGrant{{ID: name, Client: auth.PageClient{Name: name}, Since: noon, Scopes: []string{name}}}})
		})
		if s.value("id") != name || s.value("subject") != name {
			t.Errorf("%.20q: form fields changed", name)
		}
		// People choose their own names at many providers, and operators read them beside a button.
		o := operator(t, func(p *auth.StatusPage) {
			p.User, p.Whose, p.Query.Subject = auth.PageUser{Name: name, Subject: "o"}, auth.PageUser{Name: name, Subject: name}, name
			p.Grants[0].User, p.Grants[0].Client = auth.PageUser{Name: name, Email: name, Subject: name}, auth.PageClient{Name: name}
		})
		if o.value("subject") != name {
			t.Errorf("%.20q: what was looked for changed", name)
		}
		for _, part := range []string{"title", "h1", "table"} {
			if strings.ContainsAny(o.text(part), "\u202e\u2066\u200b") {
				t.Errorf("%q turns what stands around it in %s", name, part)
			}
		}
	}
}

func TestLanding(t *testing.T) {
	site := publicSite()
	d := show(t, newLanding(t, site))
	d.expect("Connect your AI assistant to Example Corp data", "look things up for you.", "Sign in at login.example.com as usual.",
		"claude mcp add --transport http example-data https://mcp.example.com/mcp",
		`code --add-mcp '{"name":"example-data","type":"http","url":"https://mcp.example.com/mcp"}'`,
		"codex mcp add example-data --url https://mcp.example.com/mcp", "gemini mcp add --transport http example-data",
		"opencode mcp auth example-data", `"mcp-remote", "https://mcp.example.com/mcp"`, "npx @modelcontextprotocol/inspector",
		"Add custom connector", "Developer mode")
	d.refuse("This is a demo", "cannot reach this computer", "REQUESTID")
	for n := range d.all("input") {
		if attr(n, "value") != "https://mcp.example.com/mcp" {
			t.Errorf("address %q", attr(n, "value"))
		}
	}
	site.Connectors = []web.Connector{{Title: "CRM"}, {Title: "Warehouse"}, {Title: "Support tickets"}}
	show(t, newLanding(t, site)).expect("look things up for you in CRM, Warehouse and Support tickets.")
}

func newLanding(t *testing.T, site web.Site) func(http.ResponseWriter, *http.Request) error {
	return newPages(t, site).Landing
}

// TestCursorLink: the address must survive html/template, base64 and the query (cursor:// is not a scheme it knows).
func TestCursorLink(t *testing.T) {
	for n := range show(t, newLanding(t, publicSite())).all("a") {
		u, err := url.Parse(attr(n, "href"))
		if err != nil || u.Scheme != "cursor" {
			continue
		}
		config, err := base64.StdEncoding.DecodeString(u.Query().Get("config"))
		if err != nil || string(config) != `{"url":"https://mcp.example.com/mcp"}` || u.Query().Get("name") != "example-data" ||
			u.Host+u.Path != "anysphere.cursor-deeplink/mcp/install" {
			t.Errorf("link %q: %s", attr(n, "href"), config)
		}
		return
	}
	t.Error("no link")
}

func demoUsers() []web.DemoUser {
	return []web.DemoUser{
		{Name: "alice", Password: "alice-pw", Email: "alice@example.com", Groups: []string{"sales"}}, {Name: "özil", Password: "ö-pw"},
	}
}

func TestLandingDemo(t *testing.T) {
	site := publicSite()
	site.Issuer, site.Demo = "http://127.0.0.1:8080", demoUsers()
	d := show(t, newLanding(t, site))
	d.expect("This is a demo.", "Sign in as alice (password alice-pw) or özil (password ö-pw).", "Sign in as alice or özil.",
		"Claude runs on the internet and cannot reach this computer.", "ChatGPT runs on the internet")
	d.refuse("Add custom connector", "as usual", "Developer mode")
}

func TestDemoSignIn(t *testing.T) {
	pages := newPages(t, publicSite())
	p := web.DemoSignIn{Host: "127.0.0.1:8081", Action: "/login", Token: "sealed", Users: demoUsers()}
	d := show(t, func(w http.ResponseWriter, r *http.Request) error { return pages.DemoSignIn(w, r, p) })
	d.expect("Continue as Alice alice@example.com, sales", "Continue as Özil", "The passwords are alice-pw and ö-pw.", "127.0.0.1:8081")
	d.refuse("not right", "Example Corp", "mcp.example.com")
	if d.value("token") != "sealed" || strings.Contains(d.raw, "aria-invalid") {
		t.Error("form token missing, or a fault shown where there is none")
	}
	p.Failed = true
	d = show(t, func(w http.ResponseWriter, r *http.Request) error { return pages.DemoSignIn(w, r, p) })
	d.expect("The name or the password is not right.")
	if strings.Count(d.raw, `aria-invalid="true" aria-describedby="problem"`) != 2 {
		t.Error("inputs do not point at the problem")
	}
}

// TestSite: what would make wrong commands or links never comes to a page; people paste them into a shell.
func TestSite(t *testing.T) {
	for _, short := range []string{"", "a b", "a;rm", "-x", "ä", strings.Repeat("a", 41)} {
		site := publicSite()
		site.ShortName = short
		if _, err := web.NewPages(site, nil); err == nil {
			t.Errorf("short name %q accepted", short)
		}
	}
	for _, issuer := range []string{"", "https://mcp.example.com/", "ftp://x", "mcp.example.com"} {
		site := publicSite()
		site.Issuer = issuer
		if _, err := web.NewPages(site, nil); err == nil {
			t.Errorf("issuer %q accepted", issuer)
		}
	}
	for name, want := range map[string]string{
		"Example Corp data": "example-corp-data", "mcp.example.com": "mcp-example-com", "  ¡Hola! ": "hola", "日本": "mcp", "": "mcp",
		"127.0.0.1:8080": "127-0-0-1-8080", strings.Repeat("a", 39) + " b": strings.Repeat("a", 39),
	} {
		if got := web.ShortName(name); got != want {
			t.Errorf("ShortName(%q) = %q", name, got)
		}
	}
}
