package auth

import (
	"net/http"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
)

// Pages are the pages that the authorization server hands out, filled in by package web. Each writes the whole
// answer; an error means that nothing was written. This package knows no HTML, and package web no rules: a page gets
// everything that it shows.
type Pages struct {
	Consent func(w http.ResponseWriter, r *http.Request, p ConsentPage) error
	Status  func(w http.ResponseWriter, r *http.Request, p StatusPage) error
	SignIn  func(w http.ResponseWriter, r *http.Request, p SignInPage) error
}

// ConsentPage is the question "may this client use this resource for you?" (protocol.md §4.3). It names no user: the
// one who signs in at the provider next may be another.
type ConsentPage struct {
	Client       PageClient
	Ticket       string // sealed authorization request, hidden form field
	Token        string // form token, hidden form field
	Renewed      bool   // the ticket sent was too old: the question is asked again
	Scopes       []string
	Scope        string // as asked, after unknown names were dropped
	Resource     string
	RedirectURI  string // full, IDN hosts as A-labels
	RedirectHost string // for https and loopback
	Scheme       string // for private-use schemes: "cursor"
	Idle, MaxAge oauth.Duration
}

// PageClient says who asks and how we know them. Exactly one of Registered (dynamic registration), Document, BuiltIn
// and Known is true.
type PageClient struct {
	ID, Name   string
	Host       string // of a metadata document
	Registered bool
	Document   bool
	BuiltIn    bool   // document could not be fetched; our own copy of CopyDate was used
	CopyDate   string // for BuiltIn
	Known      bool   // pre-registered by the operator
	Loopback   bool   // the answer goes to a program on this computer
	PrivateUse bool   // the answer goes to whichever program owns a private-use scheme
}

// StatusPage lists connections: the signed-in user's own, or, for operators, those that Query asks for.
type StatusPage struct {
	Token     string // form token for /grants/end
	SignOut   string // form token for /signout
	User      PageUser
	Grants    []PageGrant
	Living    int            // of Whose, or of User
	Tombstone oauth.Duration // how long an ended grant stays listed
	SigninTTL oauth.Duration

	// The rest is for operators (`[access] operators`); Operator says whether this user is one. One that asks for the
	// own subject gets Whose = User.
	Operator   bool
	Query      PageQuery
	Whose      PageUser    // the one user whose connections these are; zero = everybody's
	Counts     []PageCount // of all connections, whatever Query says
	From, To   int         // place of the first and last of Grants; From 0 = not known, behind the first page
	Total      int         // that Query finds; 0 = not known
	Next       string      // `after` of the next page; "" = this is the last
	Partial    bool        // the search took too long and was given up: there may be more than Grants
	Provider   PageHealth
	Store      PageHealth
	Connectors []PageConnector
}

// PageUser is the person a page speaks to, or of.
type PageUser struct{ Name, Email, Subject string }

// PageQuery is what an operator looks for: the parameters of GET /status as sent, cut to a sane length.
type PageQuery struct {
	Subject string // subject, e-mail or part of the name
	Client  string // id or part of the name
	State   string // a State of PageCount; "" = all
	After   string
}

// PageCount is a number of connections in one state. State is the value of `state=`.
type PageCount struct {
	State, Name string // "working", "Working"
	N           int64
}

// PageHealth is how something that all connections need is doing. Reason "" = well.
type PageHealth struct {
	Host     string // of the provider
	State    string // "Working", "Not answering"
	Sentence string
	Reason   oauth.Reason
	Since    time.Time // since when it is in trouble
}

// PageConnector is one mounted source of tools.
type PageConnector struct {
	Name, Title string
	State       string // "ok", "unreachable" or "changed"
	Sentence    string
	Reason      oauth.Reason // "" = ok
	Since       time.Time    // of this state; zero = not known
}

// PageGrant is one connection on the status page. Zero times are not shown.
type PageGrant struct {
	ID        string
	Client    PageClient
	User      PageUser // whose it is, as the provider last said
	Since     time.Time
	LastUsed  time.Time
	GoodUntil time.Time    // when it ends by itself if not used
	Ended     time.Time    // zero while it lives
	Reason    oauth.Reason // why it ended, or what trouble it is in; "" = working
	Trouble   time.Time    // since when it is in trouble
	Until     time.Time    // how long it stays connected in that trouble
	Scopes    []string     // sentences

	State    string // the state in a word or two: "Working", "Being checked", "Ended"
	Kind     string // of the shape beside it: "" working, "trouble", "ended"
	Sentence string // what happened and what to do, without the reason's code; "" = working
	Events   []PageEvent
}

// PageEvent is one line of a connection's story, the newest first. Lines of one kind in a row are one.
type PageEvent struct {
	At, Until time.Time // Until zero, or the end of the span
	Sentence  string
	Reason    oauth.Reason
	Count     int // how often, at least 1
}

// SignInPage is the status page for somebody not signed in. It asks for nothing: who it is, the provider says.
type SignInPage struct {
	Token     string // form token for /signin
	SignInTTL oauth.Duration
}

// Refusal is one request that was not answered normally, as package web remembers it.
type Refusal = story.Refusal
