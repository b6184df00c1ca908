package mcp

import (
	"context"
	"errors"
	"net/http"
	"sync"

	sdkauth "github.com/modelcontextprotocol/go-sdk/auth"

	"hostedmcp/auth/oauth"
)

// errClosing is the cause in the log of what is refused while the server stops.
var errClosing = errors.New("the server is being stopped")

// enterSession begins a request in the session that its header names. Without one it is 400, not a new session: the SDK
// would open one for any message and answer 200 with an error inside.
func (s *Server) enterSession(r *http.Request, k *call) (refuse *refusal) {
	id := r.Header.Get(headerSession)
	if id == "" {
		return refused(http.StatusBadRequest, oauth.RequestInvalid)
	}
	// Connectors hear of a session of the caller's own only.
	if k.session, refuse = s.sessions.enter(id, &k.caller); refuse == nil {
		k.sessionID = id
	}
	return refuse
}

// postLegacy dispatches a message of the older era in its session; initialize opens one. Only initialize without a
// session id opens one: with an id it is a message like others, and an unknown id is 404, on which clients initialize
// again.
//
// The session is entered before the call is admitted, for a tool is looked up in it; but what is wrong with the session
// comes after what is wrong with the rights, as ever.
func (s *Server) postLegacy(w http.ResponseWriter, r *http.Request, k *call) *refusal {
	k.opens = k.method == methodInitialize && r.Header.Get(headerSession) == ""
	var unknown *refusal
	if !k.opens {
		if unknown = s.enterSession(r, k); unknown == nil {
			defer s.sessions.leave(k.session)
		}
	}
	if refuse := s.admit(r, k); refuse != nil {
		return refuse
	}
	if unknown != nil {
		return unknown
	}
	if k.opens {
		var refuse *refusal
		if k.session, refuse = s.sessions.reserve(&k.caller); refuse != nil {
			return refuse
		}
		defer s.sessions.leave(k.session)
	}
	// An answer to a request of a connector never reaches the SDK, which did not send that, and neither does the end of a
	// call that it has not seen.
	if k.method == "" && k.session.peer.answered(&k.message) || k.method == notifyCancelled && k.id == nil && k.session.peer.cancelled(&k.message) {
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	return s.dispatch(w, r, k)
}

// work writes the answer to a request, or returns a refusal.
type work func(st *stream, r *http.Request, k *call) *refusal

// workFor chooses who answers: we ourselves, or the SDK of the request's era.
func (s *Server) workFor(r *http.Request, k *call) work {
	if r.Method == http.MethodGet {
		if replay, next := k.session.peer.resumes(r.Header.Get("Last-Event-Id"), k.caller.Scope); replay != nil {
			return replay.repeat(next)
		}
	}
	if straight(r, k) {
		return s.answerStraight
	}
	handler := s.legacy
	if k.modern {
		handler = s.modern
	}
	return func(st *stream, r *http.Request, k *call) *refusal {
		if r.Method == http.MethodGet {
			defer k.session.peer.listens(st)()
		}
		handler.ServeHTTP(&st.writer, r.WithContext(context.WithValue(st.ctx, callKey{}, k)))
		return nil
	}
}

// dispatch has the request answered under the rules of streams (step 7).
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, k *call) *refusal {
	// After the session was found, before the SDK: what is counted is a client that got through to its tools.
	if r.Method == http.MethodPost && s.told.first(k.caller.GrantID) {
		s.authority.FirstCall(r.Context(), k.caller.GrantID)
	}
	st, refuse := s.openStream(w, r, k)
	if refuse != nil {
		return refuse
	}
	k.stream.Store(st)
	answered := false
	var why cause
	func() {
		defer func() { why, answered = st.close() }() // also when the SDK panics
		refuse = s.workFor(r, k)(st, r, k)
	}()
	if refuse != nil {
		return refuse
	}
	// The stream was cut by us. Who asks the authorization server again hears the reason with which the grant ended.
	if why == causeGrant {
		_, err := s.authority.Verify(r.Context(), k.token)
		refuse = s.challenges.rejected(err)
		k.info.Fail(refuse.err) // the log says why the stream ended
	}
	if answered {
		return nil
	}
	refuse = s.unanswered(k, why, refuse)
	if k.opens {
		s.sessions.end(k.session) // its id was in the answer that nobody got
	}
	return refuse
}

// unanswered says what to answer when a request was closed before anything was written; ended is for the end of its
// grant. nil is that the client has gone. Each answer sends the client where it can go on: to a login, to initialize,
// or here again a moment later.
func (s *Server) unanswered(k *call, why cause, ended *refusal) *refusal {
	switch {
	case why == causeGrant:
		return ended
	case why == causeSession, why == causeNone && k.session != nil && s.sessions.isGone(k.session):
		return refused(http.StatusNotFound, oauth.SessionUnknown)
	case why != causeNone:
		return stopping()
	}
	return nil
}

// stopping is the answer to what a server that stops does not begin.
func stopping() *refusal { return &refusal{err: oauth.Unavailable(oauth.Internal, errClosing)} }

// callKey is where the context of a request holds its *call, from dispatch to carryIdentity.
type callKey struct{}

// identityKey is where the SDK's TokenInfo holds the *call.
const identityKey = "call"

// carryIdentity makes the SDK carry who asks to the tools, and takes credentials off the request: what is left in its
// header reaches every tool. The SDK's bearer check judges nothing here; ours has.
func carryIdentity(next http.Handler) http.Handler {
	verify := func(ctx context.Context, _ string, _ *http.Request) (*sdkauth.TokenInfo, error) {
		k := ctx.Value(callKey{}).(*call)
		return &sdkauth.TokenInfo{UserID: k.caller.principal, Extra: map[string]any{identityKey: k}}, nil
	}
	// The header map is the request's own: nobody after us may read these either. Inside RequireBearerToken, which
	// reads the header itself.
	strip := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Authorization")
		r.Header.Del("Proxy-Authorization")
		r.Header.Del("Cookie")
		next.ServeHTTP(w, r)
	})
	return sdkauth.RequireBearerToken(verify, &sdkauth.RequireBearerTokenOptions{AllowMissingExpiration: true})(strip)
}

// told remembers whose first call was told, so that the authorization server is not asked at every call. It may
// forget: FirstCall can be told again. The zero value is empty. mu guards grants.
type told struct {
	mu     sync.RWMutex
	grants map[string]struct{}
}

// maxTold bounds told; at 20,000 grants it is about 1 MB.
const maxTold = 20_000

// first reports whether grant is new. It is asked at every message, so that the common answer takes a read lock only.
func (t *told) first(grant string) bool {
	t.mu.RLock()
	_, known := t.grants[grant]
	t.mu.RUnlock()
	if known {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// Emptied as a whole: to find out which grant was told longest ago would cost more than telling some again.
	if t.grants == nil || len(t.grants) >= maxTold {
		t.grants = map[string]struct{}{}
	}
	_, known = t.grants[grant]
	t.grants[grant] = struct{}{}
	return !known
}
