package auth

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// Observer hears of every journal event and of every grant's end after its commit: log line, metric and closing
// streams all follow from the journal, so that they cannot disagree with it. main hands its methods to the store. It
// exists before the server, since the store needs it to open. mu guards waits.
type Observer struct {
	log    *slog.Logger
	events *prometheus.CounterVec
	logins *prometheus.CounterVec
	alarms *prometheus.CounterVec
	ends   *prometheus.CounterVec

	mu    sync.Mutex
	waits map[string]map[chan struct{}]struct{} // by grant id: who is told of its end
	tell  []func(grantID string)                // who is told of every end
}

// NewObserver returns an Observer that counts in reg.
func NewObserver(reg prometheus.Registerer, log *slog.Logger) *Observer {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return promauto.With(reg).NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	o := &Observer{
		log:    log,
		events: counter("hostedmcp_events_total", "Journal events of grants, by reason.", "reason"),
		logins: counter("hostedmcp_logins_total", "Logins that came so far: authorize, approved, signed_in, redeemed, first_call.", "step"),
		alarms: counter("hostedmcp_alarms_total", "What an operator must look at, by reason.", "reason"),
		ends:   counter("hostedmcp_grants_ended_total", "Grants that ended, by reason.", "reason"),
		waits:  map[string]map[chan struct{}]struct{}{},
	}
	o.begin()
	return o
}

// begin lets every label that may come show its zero: a rate over a series that does not exist yet misses its first
// event.
func (o *Observer) begin() {
	for group, reasons := range oauth.Reasons() {
		for _, r := range reasons {
			switch group {
			case oauth.GroupEnded:
				o.ends.WithLabelValues(string(r))
				o.events.WithLabelValues(string(r))
			case oauth.GroupTrouble, oauth.GroupNormal:
				o.events.WithLabelValues(string(r))
			}
		}
	}
	for _, r := range []oauth.Reason{oauth.UpstreamConfig, oauth.SubjectChanged, oauth.IDTokenInvalid, oauth.ClockJump,
		oauth.StorageUnavailable, oauth.Internal} {
		o.alarms.WithLabelValues(string(r))
	}
	for _, step := range []string{"authorize", "approved", "signed_in", "redeemed", "first_call"} {
		o.logins.WithLabelValues(step)
	}
}

// steps are the events that the funnel of a login counts; its first two come before there is a grant.
var steps = map[oauth.Reason]string{
	oauth.SignedIn: "signed_in", oauth.CodeRedeemed: "redeemed", oauth.FirstCall: "first_call",
}

// Event is storage.Options.OnEvent.
func (o *Observer) Event(e storage.Event) {
	o.events.WithLabelValues(string(e.Reason)).Inc()
	if step := steps[e.Reason]; step != "" {
		o.logins.WithLabelValues(step).Inc()
	}
	// An end is what an operator looks for; all else is in the request's own line.
	level := slog.LevelDebug
	if e.Reason.Group() == oauth.GroupEnded {
		level = slog.LevelInfo
	}
	o.log.LogAttrs(context.Background(), level, "event", slog.String("grant", e.Grant), slog.String("reason", string(e.Reason)),
		slog.String("client", e.Client), slog.String("request", e.Request))
}

// Alarm is storage.Options.OnAlarm: an operator must look. A line at level error, and a count.
func (o *Observer) Alarm(reason oauth.Reason, err error) {
	o.alarm(context.Background(), reason, "alarm", err)
}

// alarm is also for causes that belong to a request, which its line then names.
func (o *Observer) alarm(ctx context.Context, reason oauth.Reason, what string, cause error) {
	o.alarms.WithLabelValues(string(reason)).Inc()
	o.log.LogAttrs(ctx, slog.LevelError, what, slog.String("reason", string(reason)), slog.Any("cause", cause),
		slog.String("request", Request(ctx).ID))
}

// End is storage.Options.OnEnd: it closes what waits for the grant's end.
func (o *Observer) End(grantID string, reason oauth.Reason) {
	o.ends.WithLabelValues(string(reason)).Inc()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, tell := range o.tell {
		tell(grantID)
	}
	for ch := range o.waits[grantID] {
		close(ch)
	}
	delete(o.waits, grantID)
}

// whenEnded has tell called for every grant that ends from now on. It must not block, nor call the Observer.
func (o *Observer) whenEnded(tell func(grantID string)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tell = append(o.tell, tell)
}

// wait returns a channel that is closed when the grant ends, and forgotten when ctx is done.
func (o *Observer) wait(ctx context.Context, grantID string) <-chan struct{} {
	ch := make(chan struct{})
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waits[grantID] == nil {
		o.waits[grantID] = map[chan struct{}]struct{}{}
	}
	o.waits[grantID][ch] = struct{}{}
	// Streams come and go while their grant lives for months: without this the map would only grow.
	context.AfterFunc(ctx, func() { o.forget(grantID, ch) })
	return ch
}

// forget drops a channel whose stream is over.
func (o *Observer) forget(grantID string, ch chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.waits[grantID], ch)
	if len(o.waits[grantID]) == 0 {
		delete(o.waits, grantID)
	}
}

// Ended returns a channel that is closed when the grant ends. It is forgotten when ctx is done. A grant that has
// ended already gives a closed channel. The order matters: entered first and read then, an end between the two is
// heard of either way.
func (s *Server) Ended(ctx context.Context, grantID string) <-chan struct{} {
	ch := s.observer.wait(ctx, grantID)
	g, err := s.store.Grant(grantID) // it may have ended just before we waited, or so long ago that it is forgotten
	if err == nil && g.Ended != "" || errors.Is(err, storage.ErrNotFound) {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return ch
}
