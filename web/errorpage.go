package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// errorText is an error page's three parts but the small print: what happened, what to do. Advice names a fixed list
// in the template in place of Todo; Wrong is what the program's request has wrong, in place of What.
type errorText struct{ Title, What, Wrong, Todo, Advice string }

// Phrases that several pages share, so that one thing is said in one way.
const (
	again      = "Go back to your program and connect again. It opens a new page here."
	ranOut     = "This request has run out"
	wrongly    = "The program asked wrongly"
	later      = "Please try again in a minute"
	makers     = "Tell the makers of the program; the reason below helps them."
	notSigning = "Sign-in does not work at the moment"
	tellAdmins = "Tell your administrators the reason below."
	patience   = "Wait a minute, then try again. If it goes on, tell your administrators."
	connected  = " Programs that are already connected stay connected."
	cannotNow  = "This server cannot save at the moment. Nothing is lost, and connected programs stay connected."
)

// errorTexts holds the pages by reason: first those of a login that ran out, then those with advice of their own, a
// program that asked wrongly, trouble that passes, and a sign-in that was refused. The heading is the fact, so that
// somebody who reads nothing else is not misled. {P} is the provider's host, {NAME} the site; {HOST} stands for the host
// of the client's metadata document, which is left out where it is not known.
var errorTexts = map[oauth.Reason]errorText{
	oauth.RequestExpired: {Title: ranOut, What: "It waited too long for an answer, or it was answered already. Nothing has been allowed by this page.", Todo: again},
	oauth.StateUnknown:   {Title: ranOut, What: "It is not known here, or you pressed Allow again in another tab. Nothing has been allowed by this page.", Todo: "If you pressed Allow again in another tab, go on there. Otherwise go back to your program and connect again."},
	oauth.RequestInvalid: {Title: "We could not read this request", What: "A part of it is missing, or something changed it on the way. Nothing has been allowed by this page.", Todo: again},
	oauth.CSRFFailed:     {Title: ranOut, What: "This form did not come from our own page, or the page is a day old. Nothing was changed.", Todo: again},
	oauth.MethodRefused:  {Title: ranOut, What: "This page belongs to a step that is over. It cannot be opened by its address. Nothing has been allowed by it.", Todo: again},

	oauth.BrowserMismatch: {Title: "Finish in the browser where you pressed Allow", What: "This is another browser, or a private window. We only go on where you began, so that nobody else can finish in your place. Nothing has been allowed here.", Advice: "browser"},
	oauth.ClientUnknown:   {Title: "We do not know this program", What: "It was last used here a long time ago, or it was set up for another server. Nothing has been allowed.", Advice: "program"},
	oauth.NotFound:        {Title: "There is no such page", What: "The address may be mistyped, or what it showed is gone.", Advice: "places"},

	oauth.RedirectRefused: {Title: wrongly, Wrong: "it wants the answer sent to an address that it did not register", Todo: makers},
	oauth.CIMDFailed:      {Title: wrongly, Wrong: "we could not fetch its description{HOST from}", Todo: makers},
	oauth.CIMDInvalid:     {Title: wrongly, Wrong: "its description{HOST at} has errors", Todo: makers},
	oauth.ScopeInvalid:    {Title: wrongly, Wrong: "it asks for permissions that do not exist here", Todo: makers},
	oauth.TargetInvalid:   {Title: wrongly, Wrong: "it asks for access to another server", Todo: makers},

	oauth.UpstreamUnreachable: {Title: later, What: "{P}, where you sign in, is not answering at the moment." + connected, Todo: patience},
	oauth.UpstreamError:       {Title: later, What: "{P}, where you sign in, answers with errors at the moment." + connected, Todo: patience},
	oauth.UpstreamBadAnswer:   {Title: later, What: "{P}, where you sign in, answers with errors at the moment." + connected, Todo: patience},
	oauth.UpstreamInDoubt:     {Title: later, What: "An answer of {P}, where you sign in, was lost on the way." + connected, Todo: patience},
	oauth.StorageUnavailable:  {Title: later, What: cannotNow, Todo: patience},
	oauth.ClockJump:           {Title: later, What: "The clock of this server is wrong at the moment. Nothing is lost, and connected programs stay connected.", Todo: patience},
	oauth.Internal:            {Title: later, What: "This server met a fault of its own. Nothing is lost, and connected programs stay connected.", Todo: patience},
	oauth.RateLimited:         {Title: later, What: "Too many requests came from where you are." + connected, Todo: patience},
	oauth.RegistrationFull:    {Title: later, What: "Too many programs have registered here at the moment." + connected, Todo: patience},

	oauth.AccessRule:     {Title: "Your account may not use this", What: "You signed in at {P}, but {NAME} is not open to your account. Nothing has been allowed.", Todo: "Ask your administrators."},
	oauth.UpstreamDenied: {Title: "You did not sign in", What: "{P} ended the sign-in without an account. Nothing has been allowed.", Todo: "Try again."},
	oauth.UpstreamConfig: {Title: notSigning, What: "This server and {P} disagree about a setting." + connected, Todo: tellAdmins},
	oauth.UpstreamIss:    {Title: notSigning, What: "An answer did not come from {P}, where you sign in. Nothing has been allowed.", Todo: tellAdmins},
	oauth.IDTokenInvalid: {Title: notSigning, What: "The answer of {P} could not be verified. Nothing has been allowed.", Todo: tellAdmins},
}

// wronglyAsked is request_invalid where the program's own request is at fault, and not a page that was left open.
var wronglyAsked = errorText{Title: wrongly, Wrong: "a part of it is missing or malformed", Todo: makers}

// errorView is the page of one refusal.
type errorView struct {
	base
	errorText
	Client               string       // what the program calls itself; "" = not known
	Reason               oauth.Reason // as strangers may see it
	At                   time.Time
	BackURL, BackHost    string // RFC 9700 §4.11.2: a click, never a bounce
	RetryURL, RetryLabel string // "" = no button
}

func (p *Pages) errorPage(r *http.Request, e *oauth.Error) ([]byte, error) {
	v := errorView{base: p.base(r), errorText: p.errorText(r, e), Reason: e.Reason.Wire(), At: p.now()}
	v.Client = oauth.DisplayText(e.Client, 100)
	v.RetryURL, v.RetryLabel = retry(r, e.Reason)
	// Only ever an https URI that the client registered; whatever else came here would be a link we must not offer.
	if u, err := url.Parse(e.Back); err == nil && u.Scheme == "https" {
		v.BackURL, v.BackHost = e.Back, u.Host
		v.Todo = makers + " You can also go back and try once more:"
	}
	return p.render("error.html", v)
}

// errorText finds the words for a refusal. Reasons that no browser should meet get those of their group's nearest kin.
func (p *Pages) errorText(r *http.Request, e *oauth.Error) errorText {
	t, ok := errorTexts[e.Reason.Wire()]
	// The query of /authorize is the program's own work. Everywhere else a bad request is a page that was left open.
	atAuthorize := r.Method == http.MethodGet && r.URL.Path == "/authorize"
	switch {
	case e.Reason == oauth.RequestInvalid && (e.Back != "" || atAuthorize):
		t = wronglyAsked
	case !ok && e.Reason.Group() == oauth.GroupTrouble:
		t = errorTexts[oauth.Internal]
	case !ok:
		t = errorTexts[oauth.RequestInvalid]
	}
	host := documentHost(r)
	t.What, t.Wrong = p.fill(t.What), p.fill(t.Wrong, "{HOST from}", prefixed(" from ", host), "{HOST at}", prefixed(" at ", host))
	if t.Todo == again && ownForm(r.URL.Path) {
		t.Todo = "Open “My connections” again and repeat what you did."
	}
	return t
}

// fill puts the site's names into a sentence; pairs are further names and values.
func (p *Pages) fill(sentence string, pairs ...string) string {
	return strings.NewReplacer(append(pairs, "{P}", p.site.ProviderHost, "{NAME}", p.site.Name)...).Replace(sentence)
}

// documentHost is the host of the client's metadata document, which is the client_id itself (protocol.md §3.3).
func documentHost(r *http.Request) string {
	u, err := url.Parse(r.URL.Query().Get("client_id"))
	if err != nil || u.Scheme != "https" {
		return ""
	}
	return u.Host
}

// prefixed puts word before s, and is empty if s is.
func prefixed(word, s string) string {
	if s == "" {
		return ""
	}
	return word + s
}

// ownForm names the forms of the status page, whose user has no program to go back to.
func ownForm(path string) bool {
	return path == "/signin" || path == "/signout" || path == "/grants/end"
}

// retry offers the way on where a click can help: the same page once more, if its address holds no secret (that of
// /callback does), or the status page after one of its forms.
func retry(r *http.Request, reason oauth.Reason) (address, label string) {
	_, refused := map[oauth.Reason]bool{oauth.AccessRule: true, oauth.UpstreamConfig: true, oauth.UpstreamIss: true,
		oauth.IDTokenInvalid: true, oauth.NotFound: true}[reason]
	trouble := reason.Group() == oauth.GroupTrouble || reason == oauth.RegistrationFull
	switch {
	case refused:
	case ownForm(r.URL.Path):
		return "/status", "My connections"
	case trouble && r.Method == http.MethodGet && r.URL.Path == "/authorize":
		return "/authorize?" + r.URL.RawQuery, "Try again"
	case trouble && r.Method == http.MethodGet && r.URL.Path == "/status":
		return "/status", "Try again"
	}
	return "", ""
}

// describe is what JSON says of a refusal (RFC 6749 §5.2): the code and a constant sentence after its reason.
func describe(e *oauth.Error) map[string]string {
	return map[string]string{"error": string(e.Code), "error_description": e.Description()}
}
