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
// streams all follow from the journal, so that they cannot disagree with it. main hands its methods to the store.
type Observer struct {
	log    *slog.Logger
	events *prometheus.CounterVec

	mu    sync.Mutex
	waits map[string]map[chan struct{}]struct{}
}

// NewObserver returns an Observer that counts in reg.
func NewObserver(reg prometheus.Registerer, log *slog.Logger) *Observer {
	return &Observer{
		log: log,
		events: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
			Name: "hostedmcp_events_total", Help: "Journal events of grants, by reason.",
		}, []string{"reason"}),
		waits: map[string]map[chan struct{}]struct{}{},
	}
}

// Event is storage.Options.OnEvent.
func (o *Observer) Event(e storage.Event) {
	o.events.WithLabelValues(string(e.Reason)).Inc()
	level := slog.LevelDebug
	if e.Reason.Group() == oauth.GroupEnded {
		level = slog.LevelInfo
	}
	o.log.LogAttrs(context.Background(), level, "event", slog.String("grant", e.Grant), slog.String("reason", string(e.Reason)),
		slog.String("client", e.Client), slog.String("request", e.Request))
}

// End is storage.Options.OnEnd: it closes what waits for the grant's end.
func (o *Observer) End(grantID string, _ oauth.Reason) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for ch := range o.waits[grantID] {
		close(ch)
	}
	delete(o.waits, grantID)
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
	context.AfterFunc(ctx, func() { o.forget(grantID, ch) })
	return ch
}

func (o *Observer) forget(grantID string, ch chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.waits[grantID], ch)
	if len(o.waits[grantID]) == 0 {
		delete(o.waits, grantID)
	}
}

// Ended returns a channel that is closed when the grant ends. It is forgotten when ctx is done. A grant that has ended
// already gives a closed channel.
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
