package auth

import (
	"net/http"
	"time"

	"hostedmcp/auth/oauth"
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

// StatusPage lists the signed-in user's own grants.
type StatusPage struct {
	Token     string // form token for /grants/end
	SignOut   string // form token for /signout
	User      PageUser
	Grants    []PageGrant
	Living    int
	Tombstone oauth.Duration // how long an ended grant stays listed
}

// PageUser is the person a page speaks to.
type PageUser struct{ Name, Email, Subject string }

// PageGrant is one connection on the status page. Zero times are not shown.
type PageGrant struct {
	ID        string
	Client    PageClient
	Since     time.Time
	LastUsed  time.Time
	GoodUntil time.Time    // when it ends by itself if not used
	Ended     time.Time    // zero while it lives
	Reason    oauth.Reason // why it ended, or what trouble it is in; "" = working
	Trouble   time.Time    // since when it is in trouble
	Until     time.Time    // how long it stays connected in that trouble
	Scopes    []string     // sentences
}

// SignInPage is the status page for somebody not signed in. It asks for nothing: who it is, the provider says.
type SignInPage struct {
	Token     string // form token for /signin
	SignInTTL oauth.Duration
}
