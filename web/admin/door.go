package admin

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"hostedmcp/auth/story"
	"hostedmcp/storage"
)

// The door itself: which operation stands under which path, and how many may run. An operation is a method that takes an
// exchange; it is called in the same way by a server and on a closed file.

// Options is what the operations work on. Only Store is required: without the rest the door stands on a closed file,
// and does in the store what the server would do.
type Options struct {
	Store *storage.Store

	// Refusals finds a request in the server's memory of those it refused. nil = a closed file, which has none.
	Refusals func(request string) []story.Refusal
	// Site is what stories name of this installation.
	Site story.Site

	// End and EndSubject end connections (admin_revoked) as the server does: its provider is told soon after. nil =
	// in the store; the provider is told when a server runs.
	End        func(ctx context.Context, id string) error
	EndSubject func(ctx context.Context, subject string) (int, error)

	// Retire is when the tokens of the present signing key have run out. nil = in a day, the longest access_ttl.
	Retire func() time.Time
	// Tools are the connectors' tools. Zero = the definitions in the store.
	Tools ToolsAdmin
	// Hidden names the characters of a definition that nobody sees, with their places. nil = nobody looks.
	Hidden func(definition json.RawMessage) []string

	Log *slog.Logger // nil = slog.Default
}

// ToolsAdmin is the server's word on tool definitions. A nil field is answered from the store.
type ToolsAdmin struct {
	Diff func() ([]Change, error) // every change that waits, and every definition with hidden characters
	// Accept takes what was read, by tool, and nothing else: what has changed again meanwhile goes on waiting.
	Accept func(ctx context.Context, connector string, seen map[string]json.RawMessage) (int, error)
	// Forget drops the pin of a tool, or with "" of all that no change waits for. mounted = the server has this
	// connector; if not, its pins are in the store alone.
	Forget func(ctx context.Context, connector, tool string) (n int, mounted bool, err error)
}

// Door answers the operator. Its Handler speaks HTTP with JSON: over the unix socket of a server that runs, or in
// memory on a file that no server holds. Safe for concurrent use.
type Door struct {
	o     Options
	mux   *http.ServeMux
	slots chan struct{} // operations at once
	long  chan struct{} // one backup or key rotation at a time
}

// maxParallel is how many operations run at once. They come from one person at a shell.
const maxParallel = 16

// How long an operation may take. A long one may take any time, as long as its caller takes what it says.
const (
	shortTime = 30 * time.Second
	endTime   = 2 * time.Minute
	longTime  = time.Duration(0)
	stall     = time.Minute // for one write of an answer
	bodyTime  = 10 * time.Second
	aloneWait = time.Second
	maxBody   = 64 << 10
)

// NewDoor returns the operations on a store.
func NewDoor(o Options) *Door {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	// A file that no server holds signs nothing: what is out there lives for access_ttl at most, and that is a day at most.
	if o.Retire == nil {
		o.Retire = func() time.Time { return o.Store.Now().Add(24 * time.Hour) }
	}
	d := &Door{o: o, mux: http.NewServeMux(), slots: make(chan struct{}, maxParallel), long: make(chan struct{}, 1)}
	// Reading is GET and has no effect; whatever has one is POST.
	d.on("GET /v1/ping", "ping", shortTime, d.ping)
	d.on("GET /v1/explain", "explain", shortTime, d.explain)
	d.on("GET /v1/grants", "grants list", shortTime, d.listGrants)
	d.on("GET /v1/grants/{id}", "grants show", shortTime, d.showGrant)
	d.on("POST /v1/grants/{id}/end", "grants end", endTime, d.endGrant)
	d.on("GET /v1/users", "grants of user", shortTime, d.users)
	d.on("POST /v1/users/end", "grants end -subject", endTime, d.endSubject)
	d.on("POST /v1/backup", "backup", longTime, d.alone(d.backup))
	d.on("POST /v1/keys/{key}", "rotate-key", longTime, d.alone(d.rotate))
	d.on("POST /v1/clock", "clock accept", shortTime, d.acceptClock)
	d.on("GET /v1/tools", "tools diff", shortTime, d.diffTools)
	d.on("GET /v1/tools/list", "tools list", shortTime, d.listTools)
	d.on("POST /v1/tools", "tools accept", endTime, d.acceptTools)
	d.on("POST /v1/tools/forget", "tools forget", endTime, d.forgetTools)
	d.on("/", "unknown", shortTime, func(x *exchange) error {
		return refuse(http.StatusNotFound, "this hostedmcp does not know %s", x.r.Method)
	})
	return d
}

// Handler answers the operations. It checks nobody: whoever listens with it does so by [Listen].
func (d *Door) Handler() http.Handler { return d.mux }

// on registers an operation with its name in the log.
func (d *Door) on(pattern, name string, limit time.Duration, f func(*exchange) error) {
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		newExchange(w, r, d.o.Log, name).run(limit, func(x *exchange) error {
			// no waiting line: whoever asks at a shell sees at once what is the matter
			select {
			case d.slots <- struct{}{}:
				defer func() { <-d.slots }()
				return f(x)
			default:
				return refuse(http.StatusServiceUnavailable, "%d operations are running already: try again", maxParallel)
			}
		})
	})
}

// alone keeps a second long operation out: two would only slow each other, and two key rotations make no sense. One
// whose answer was just read to its end is let finish.
func (d *Door) alone(f func(*exchange) error) func(*exchange) error {
	return func(x *exchange) error {
		select {
		case d.long <- struct{}{}:
			defer func() { <-d.long }()
			return f(x)
		case <-time.After(aloneWait):
			return refuse(http.StatusConflict, "a backup or a key rotation is running already: wait until it is done")
		}
	}
}

// ping says who answers: a client that finds a socket wants to know that a hostedmcp is behind it.
func (d *Door) ping(x *exchange) error {
	return x.answer(pong{Server: serverName, PID: processID(), Store: d.o.Store.Path()})
}
