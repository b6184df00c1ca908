package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"

	"hostedmcp/auth/oauth"
)

// ticketToken is the form token of a consent page: only the browser with the cookie can post this ticket. The ticket
// enters as its hash, so that the message stays short.
func (s *Server) ticketToken(cookie, ticket string) string {
	hash := hashOf(ticket)
	return s.formToken(cookie, "ticket", string(hash[:]))
}

// pathToken is the form token of every other form: for one path and one sign-in. A token seen in one form opens no
// other, and none outlives its sign-in. signin is the cookie's value, "" for the sign-in button itself.
func (s *Server) pathToken(cookie, path, signin string) string {
	return s.formToken(cookie, path, signin)
}

// formToken derives rather than stores: a form works after a restart, in every tab, as long as the cookie lives.
func (s *Server) formToken(cookie, purpose, detail string) string {
	m := hmac.New(sha256.New, s.csrfKey)
	for _, part := range []string{cookie, purpose, detail} {
		var size [4]byte // lengths first, so that no two forms share a message
		size[2], size[3] = byte(len(part)>>8), byte(len(part))
		m.Write(size[:])
		m.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// checkForm refuses a form that our own page in this browser did not send (protocol.md §4.2, in its order): Origin,
// Sec-Fetch-Site, Sec-Fetch-Mode, then the token. want gets the CSRF cookie and returns the token expected.
func (s *Server) checkForm(r *http.Request, token string, want func(cookie string) string) error {
	h := r.Header
	// Headers that a browser does not send are no fault: older ones know no Sec-Fetch-*. The token then decides
	// alone.
	switch {
	case len(h.Values("Origin")) > 1, len(h.Values("Origin")) == 1 && h.Get("Origin") != s.issuer:
		return csrf("origin")
	case h.Get("Sec-Fetch-Site") != "" && h.Get("Sec-Fetch-Site") != "same-origin":
		return csrf("sec-fetch-site")
	case h.Get("Sec-Fetch-Mode") != "" && h.Get("Sec-Fetch-Mode") != "navigate":
		return csrf("sec-fetch-mode")
	}
	// Empty values are refused before comparing: an absent cookie must not match a token over nothing.
	cookie := s.cookie(r, csrfCookie)
	if cookie == "" || token == "" || !hmac.Equal([]byte(token), []byte(want(cookie))) {
		return csrf("token")
	}
	return nil
}

// csrf names what did not hold for the log alone.
func csrf(which string) error {
	e := oauth.Fail(oauth.AccessDenied, oauth.CSRFFailed)
	return e.Because(errors.New("form refused: " + which))
}

// formParams reads and parses a form's body once. The pipeline has checked its media type and bounds its size.
func formParams(r *http.Request) (oauth.Params, error) {
	body, err := readBody(r, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid))
	if err != nil {
		return oauth.Params{}, err
	}
	p, err := oauth.ParseParams(string(body))
	if err != nil {
		return p, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(err)
	}
	// RFC 6749 §3.2: no parameter twice, but RFC 8707 §2 lets resource repeat.
	if name := p.Repeated("resource"); name != "" {
		return p, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New("repeated: " + name))
	}
	return p, nil
}

// readBody reads a body whose size the pipeline bounds. One that is too large has a refusal of the endpoint's own, as
// 413; one that ends early is nobody's business but the log's.
func readBody(r *http.Request, tooLarge *oauth.Error) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return nil, tooLarge.With(http.StatusRequestEntityTooLarge)
	case err != nil:
		return nil, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(err)
	}
	return body, nil
}
