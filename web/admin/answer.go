package admin

import (
	"encoding/json"
	"os"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
)

// The answers of the door, which are also what -json prints. Times are UTC in RFC 3339; what is not there is left out.

// serverName is how a client knows that a hostedmcp answers at the socket.
const serverName = "hostedmcp"

// pong is the answer of ping: it tells a hostedmcp from whatever else may listen there, and names what to stop.
type pong struct {
	Server string `json:"server"`
	PID    int    `json:"pid"`
	Store  string `json:"store"`
}

// failure is the answer of what did not work: a line for the operator, and the request id that its log line has.
type failure struct {
	Error   string `json:"error"`
	Request string `json:"request"`
}

// explanation is the answer of explain.
type explanation struct {
	Word  string `json:"word"`
	Found string `json:"found"` // what the word is: grant, request, subject or email
	// LogSubject is how log lines name the user, if the word is one.
	LogSubject string        `json:"log_subject,omitempty"`
	Stories    []story.Story `json:"stories"`
	More       int           `json:"more,omitempty"`    // connections left out
	Refused    []story.Story `json:"refused,omitempty"` // of requests, not of connections
	// NoMemory says that refused requests could not be looked up: only a server that runs remembers them.
	NoMemory bool `json:"no_memory,omitempty"`
}

// grantLine is one connection in a list. Names come from the provider and from clients as they are: whoever prints them
// makes them fit to be shown, and a program gets what was said.
type grantLine struct {
	ID         string       `json:"id"`
	State      string       `json:"state"`
	Subject    string       `json:"subject"`
	Name       string       `json:"name,omitempty"`
	Email      string       `json:"email,omitempty"`
	Client     string       `json:"client"`
	ClientName string       `json:"client_name,omitempty"`
	Scope      oauth.Scope  `json:"scope"`
	Created    time.Time    `json:"created"`
	LastUse    time.Time    `json:"last_use,omitzero"`
	Ended      time.Time    `json:"ended,omitzero"`
	Reason     oauth.Reason `json:"reason,omitempty"` // why it ended
}

// grantPage is a part of a list. Lists are long and a page is one answer, so that no reading holds the store up.
type grantPage struct {
	Grants []grantLine `json:"grants"`
	Next   string      `json:"next,omitempty"` // -after of the next page
}

// grantDetail is one connection with what the provider's side of it is like.
type grantDetail struct {
	grantLine
	Resource    string         `json:"resource"`
	RedirectURI string         `json:"redirect_uri"`
	Groups      []string       `json:"groups,omitempty"`
	Generation  uint32         `json:"generation"`
	Upstream    *upstreamState `json:"upstream,omitempty"`
	Events      int            `json:"events"`
}

// upstreamState is what is known of the provider's tokens: their times, never they themselves.
type upstreamState struct {
	Answered       time.Time    `json:"answered,omitzero"`
	Expires        time.Time    `json:"expires,omitzero"`
	RefreshExpires time.Time    `json:"refresh_expires,omitzero"`
	Offline        bool         `json:"offline"`
	KeepaliveAt    time.Time    `json:"keepalive,omitzero"`
	Trouble        oauth.Reason `json:"trouble,omitempty"`
	TroubleSince   time.Time    `json:"trouble_since,omitzero"`
	Failures       uint32       `json:"failures,omitempty"`
	InDoubt        bool         `json:"in_doubt,omitempty"`
	Quarantined    bool         `json:"quarantined,omitempty"`
	RevokeAt       time.Time    `json:"revoke_at,omitzero"`
}

// userLine is one user that an operator may mean, with what would be ended.
type userLine struct {
	Subject string `json:"subject"`
	Name    string `json:"name,omitempty"`
	Email   string `json:"email,omitempty"`
	Living  int    `json:"living"` // connections
	Ended   int    `json:"ended"`  // remembered ones
}

// userPage is whom a word means: several, if an address has been given to a second person.
type userPage struct {
	Users []userLine `json:"users"`
}

// ended is the answer of both ways to end connections. Asking again is safe: what has ended stays as it was.
type ended struct {
	Ended  int          `json:"ended"`            // how many this call ended
	Reason oauth.Reason `json:"reason,omitempty"` // of one that had ended before
	At     time.Time    `json:"at,omitzero"`
}

// rotation is the answer of rotate-key. It names files and keys by their public names; no key is ever in an answer.
type rotation struct {
	Key    string    `json:"key"` // master, data or signing
	File   string    `json:"file,omitempty"`
	Waits  bool      `json:"waits,omitempty"` // the file is for the operator to install
	ID     string    `json:"id,omitempty"`
	Retire time.Time `json:"retire,omitzero"` // when the replaced signing key goes
}

// step is one line of a long answer. The status of an answer is sent before the work is done, so that only its last
// line can say how it ended.
type step struct {
	Done  int       `json:"done"`
	Total int       `json:"total"`
	Error string    `json:"error,omitempty"`
	Key   *rotation `json:"result,omitempty"` // the last line
}

// clockState is the answer of clock accept: what was taken as right, so that a typing error in the date shows.
type clockState struct {
	Trusted bool      `json:"trusted_before"`
	Now     time.Time `json:"now"`
}

// Change is a tool definition of a connector that the operator should read: because it differs from the one that was
// accepted, or because something in it cannot be seen.
type Change struct {
	Connector string          `json:"connector"`
	Tool      string          `json:"tool"`
	Accepted  json.RawMessage `json:"accepted,omitempty"`
	Offered   json.RawMessage `json:"offered,omitempty"` // absent = nothing waits
	At        time.Time       `json:"at,omitzero"`       // when it was first seen
	Hidden    []string        `json:"hidden,omitempty"`  // characters that nobody sees, with their places
}

// changes is the answer of tools diff.
type changes struct {
	Changes []Change `json:"changes"`
	Digest  string   `json:"digest"` // of all that wait: tools accept sends back what was seen
}

// waiting counts the definitions that wait.
func (c changes) waiting() (n int) {
	for _, one := range c.Changes {
		if one.Offered != nil {
			n++
		}
	}
	return n
}

// hidden counts the definitions with characters that nobody sees.
func (c changes) hidden() (n int) {
	for _, one := range c.Changes {
		if len(one.Hidden) > 0 {
			n++
		}
	}
	return n
}

// accepted is the answer of tools accept.
type accepted struct {
	Accepted int `json:"accepted"`
}

// forgotten is the answer of tools forget.
type forgotten struct {
	Forgotten int `json:"forgotten"`
	Waiting   int `json:"waiting,omitempty"` // kept, since a change waits there that nobody has read
}

// toolLine is one pinned tool.
type toolLine struct {
	Connector string    `json:"connector"`
	Tool      string    `json:"tool"`
	State     string    `json:"state"`            // served, or withheld while a change waits
	Accepted  int       `json:"accepted"`         // definitions that are served: several where users get different ones
	Seen      time.Time `json:"seen"`             // first
	Changed   time.Time `json:"changed,omitzero"` // the latest change
	Hidden    []string  `json:"hidden,omitempty"` // as in Change
}

// toolList is the answer of tools list.
type toolList struct {
	Tools []toolLine `json:"tools"`
}

// processID is what an operator kills.
func processID() int { return os.Getpid() }
