package story

import (
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// Input is what a story is told from: what the store has of one grant. Identity, Upstream and Site may be zero; the
// story is then true without them.
type Input struct {
	Grant    storage.Grant
	Identity storage.Identity
	Upstream storage.Upstream // of the same grant; zero = given back to the provider, or none
	Events   []storage.Event  // its journal, the oldest first
	Site     Site
	// Registered is when the program registered itself, before there was a grant; zero = it did not, or nobody knows.
	Registered time.Time
	// Server is a trouble of our own that concerns every grant, clock_jump or storage_unavailable; "" = none.
	Server oauth.Reason
	Now    time.Time
	// You = the story speaks to the user; else of the user, to an operator.
	You bool
}

// Site is what the sentences name of this installation. Of a zero field a sentence says nothing.
type Site struct {
	Provider      string         // host of the OpenID provider
	Idle, MaxAge  oauth.Duration // tokens.refresh_idle, tokens.refresh_max_age
	OutageGrace   oauth.Duration // tokens.outage_grace
	GrantsPerUser int            // clients.grants_per_user
}

// Story is the life of one connection in plain words.
type Story struct {
	Grant    Grant        `json:"grant"`
	User     User         `json:"user"`
	State    string       `json:"state"`  // healthy, trouble, ended, unclaimed or refused
	Reason   oauth.Reason `json:"reason"` // why it is in that state: the first word of Headline
	At       time.Time    `json:"at"`     // since when
	Headline string       `json:"headline"`
	Lines    []Line       `json:"lines"` // the oldest first
	Word     string       `json:"word"`  // the state as the status page writes it: "Being checked"
	Sees     string       `json:"sees"`  // the sentence beside it, spoken to the user; "" while all is well
	Advice   []string     `json:"advice,omitempty"`
}

// The states of a story.
const (
	Healthy   = "healthy"
	Trouble   = "trouble"
	Ended     = "ended"
	Unclaimed = "unclaimed" // the client has not redeemed its code yet
	Refused   = "refused"   // of OfRefusal: one request, no grant
)

// Grant is what of a grant may be printed.
type Grant struct {
	ID         string      `json:"id"`
	Client     string      `json:"client"`
	ClientName string      `json:"client_name"`
	Scope      oauth.Scope `json:"scope"`
	Created    time.Time   `json:"created"`
	LastUse    time.Time   `json:"last_use,omitzero"`
	Ended      time.Time   `json:"ended,omitzero"`
	Generation uint32      `json:"generation"` // how often its tokens were renewed
}

// User is whose grant it is, as the provider last said.
type User struct {
	Subject string `json:"subject"`
	Name    string `json:"name,omitempty"`
	Email   string `json:"email,omitempty"`
}

// Line is one thing that happened. Repetitions in a row are one line, from At to Until.
type Line struct {
	At       time.Time    `json:"at"`
	Until    time.Time    `json:"until,omitzero"` // end of the span; zero = it happened once
	Reason   oauth.Reason `json:"reason"`
	Sentence string       `json:"sentence"`
	Request  string       `json:"request,omitempty"` // id of the HTTP request, of the last one if several
	Client   string       `json:"client,omitempty"`  // only if it is not the grant's
	Address  string       `json:"address,omitempty"`
	Count    uint32       `json:"count"` // at least 1
}

// Refusal is one request that was answered with an error, or otherwise than normally, as the request pipeline keeps
// it in memory: a request that never led to a grant has no journal. It holds no secret and no subject in clear.
type Refusal struct {
	At         time.Time `json:"at"`
	Request    string    `json:"request"`
	Route      string    `json:"route"` // the pattern, not the URL
	Method     string    `json:"method"`
	Status     int       `json:"status"`
	OAuthError string    `json:"oauth_error,omitempty"`
	Reason     string    `json:"reason"` // an oauth.Reason
	Client     string    `json:"client,omitempty"`
	Grant      string    `json:"grant,omitempty"`
	Subject    string    `json:"subject,omitempty"` // hash, as in the log
	Address    string    `json:"address,omitempty"`
	Trace      string    `json:"trace,omitempty"` // W3C trace id
}
