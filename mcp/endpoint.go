package mcp

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// call is one request that passed the bearer check. It is made after the bearer check and lives until the answer; the
// SDK hands it on to the tools (identityKey).
type call struct {
	message // zero but for POST

	caller   Caller
	token    string // for the reason of a grant's end; never handed on
	modern   bool
	registry *registry // of tools, one for the whole request
	tool     *Tool     // with tools/call: the tool, nil if there is none for this caller
	session  *session  // of the older era
	opens    bool      // this initialize makes session
	info     *auth.RequestInfo
	own      atomic.Bool // an error in the answer is in our words or a tool's, not the SDK's

	stream      atomic.Pointer[stream]       // its answer; nil before dispatch. What connectors say meanwhile looks for it
	sessionID   string                       // of the older era
	traceparent string                       // for connectors; "" = none
	views       map[*mounted]*view           // looked up for this request
	partial     atomic.Bool                  // a connector could not say what it offers
	target      *target                      // of methods about one prompt or resource; nil = none for this caller
	upstream    atomic.Pointer[oauth.Secret] // the user's token with which the request was let in, until it is used
}

// serve answers one request (protocol.md §7; the steps stand in doc.go). It is the only place where a refusal leaves:
// the steps below return theirs.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if refuse := s.answer(w, r); refuse != nil {
		refuse.write(w, r, s.challenges.resource)
	}
}

// answer returns a refusal, or nil if it has answered. The order is that of doc.go: what needs no token stands before
// it, so that a foreign web page is turned away even with a valid one.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) *refusal {
	if refuse := s.place.check(r); refuse != nil {
		return refuse
	}
	if refuse := checkForm(r); refuse != nil {
		return refuse
	}
	k, refuse := s.authenticate(r)
	if refuse != nil {
		return refuse
	}
	if fault := repeatedHeader(r.Header); fault != nil {
		return &refusal{rpc: fault}
	}
	if r.Method == http.MethodPost {
		return s.post(w, r, k)
	}
	return s.bodiless(w, r, k)
}

// bodiless answers GET, which opens the stream of a session, DELETE, which ends a session, and HEAD. Their era is known
// by the header alone. 405 comes after the bearer check, since Codex and mcp-remote try a GET before they have a token
// and look for the challenge there.
func (s *Server) bodiless(w http.ResponseWriter, r *http.Request, k *call) *refusal {
	switch {
	case r.Method == http.MethodHead:
		return notAllowed(allowGood)
	case modernHeader(r.Header):
		return notAllowed(http.MethodPost)
	}
	if refuse := s.checkScope(k); refuse != nil {
		return refuse
	}
	if refuse := s.enterSession(r, k); refuse != nil {
		return refuse
	}
	// leave closes a session that has ended once its last request is out, so DELETE may end it from inside.
	defer s.sessions.leave(k.session)
	if r.Method == http.MethodDelete {
		s.sessions.end(k.session)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return s.dispatch(w, r, k)
}

// post answers POST: steps 4 to 7. The body is read only now, so that strangers cannot make us hold four megabytes each.
func (s *Server) post(w http.ResponseWriter, r *http.Request, k *call) *refusal {
	body := bodies.Get().(*bytes.Buffer)
	defer recycle(body)
	if refuse := readBody(body, w, r); refuse != nil {
		return refuse
	}
	m, fault := parseMessage(body.Bytes())
	if fault != nil {
		return &refusal{rpc: fault, id: m.id}
	}
	m.id = bytes.Clone(m.id) // the buffer is used again
	m.params = m.keepParams()
	k.message, k.modern = m, m.modern(r.Header)
	if k.modern {
		if fault := m.agree(r.Header); fault != nil {
			return &refusal{rpc: fault, id: m.id}
		}
	}
	// The SDK reads the same bytes that were judged. The buffer goes back only after it has returned.
	r.Body = io.NopCloser(bytes.NewReader(body.Bytes()))
	if !k.modern {
		return s.postLegacy(w, r, k)
	}
	if refuse := s.admit(r, k); refuse != nil {
		return refuse
	}
	return s.dispatch(w, r, k)
}

// admit is steps 5 and 6: scope, and the upstream token of what needs it. What the caller may not know of does not
// exist, here already: neither its scopes nor its headers nor the state of the provider may show that it does. It all
// happens before the SDK sees the call, since its errors come inside a 200, which no client takes for a login or a
// retry.
func (s *Server) admit(r *http.Request, k *call) *refusal {
	ctx := r.Context()
	if err := s.find(ctx, k); err != nil {
		s.metrics.called(nil, resultUnavailable)
		return s.challenges.rejected(err)
	}
	if k.modern && k.tool != nil && len(k.tool.headers) > 0 {
		if fault := agreeParams(k.tool.headers, r.Header, k.params); fault != nil {
			return &refusal{rpc: fault, id: k.id}
		}
	}
	if refuse := s.checkScope(k); refuse != nil {
		return refuse
	}
	if !k.needsProvider() {
		return nil
	}
	// Here it is about the status: 401 and 503 make clients do the right thing, an error inside a result does not
	// (protocol.md §7).
	token, err := k.caller.UpstreamToken(ctx)
	if err != nil {
		refuse := s.challenges.rejected(err)
		result := resultUnavailable
		if refuse.err.Status == http.StatusUnauthorized {
			result = resultEnded
		}
		if k.tool != nil {
			s.metrics.called(k.tool, result)
		}
		return refuse
	}
	k.upstream.Store(&token)
	return nil
}

// checkScope asks for the baseline, and for what the called tool needs beyond it. More than needed does no harm.
func (s *Server) checkScope(k *call) *refusal {
	if !k.caller.Scope.Contains(s.challenges.baseline) {
		return s.challenges.scope(nil)
	}
	if needed := k.needs(); !k.caller.Scope.Contains(needed) {
		if k.tool != nil {
			s.metrics.called(k.tool, resultScope)
		}
		return s.challenges.scope(needed)
	}
	return nil
}

// bodies are the buffers of messages. The SDK copies what it reads, so that one can be used again after a request.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// recycle keeps buffers of usual size only: one of the largest would be held for long.
func recycle(b *bytes.Buffer) {
	// a body of just usualBody has grown the buffer by MinRead, and by what the allocator rounds up
	if b.Cap() <= 2*usualBody {
		b.Reset()
		bodies.Put(b)
	}
}

// usualBody is the size in bytes up to which memory is set aside for a body, or kept after it.
const usualBody = 64 << 10

// readBody reads the message. The limit holds for bodies of undeclared length too. A body that ends early is 400, for
// a client that is still there to read it. Memory beyond usualBody is for what has come, not for what a header
// promises: many slow connections would each hold the most that one may send.
func readBody(to *bytes.Buffer, w http.ResponseWriter, r *http.Request) *refusal {
	if r.ContentLength > 0 {
		to.Grow(int(min(r.ContentLength, usualBody)) + bytes.MinRead)
	}
	_, err := to.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refused(http.StatusRequestEntityTooLarge, oauth.RequestInvalid)
	case err != nil:
		return refused(http.StatusBadRequest, oauth.RequestInvalid)
	}
	return nil
}
