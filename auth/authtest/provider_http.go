package authtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func (p *Provider) routes() http.Handler {
	mux := http.NewServeMux()
	base := p.config.Path
	mux.HandleFunc("GET "+base+"/.well-known/openid-configuration", p.serve(Discovery, p.discovery))
	mux.HandleFunc("GET "+base+"/jwks", p.serve(JWKS, p.jwks))
	mux.HandleFunc("GET "+base+"/authorize", p.serve(Authorize, p.authorize))
	mux.HandleFunc("POST "+base+"/authorize", p.serve(Authorize, p.login))
	mux.HandleFunc("POST "+base+"/token", p.serve(Token, p.token))
	mux.HandleFunc("POST "+base+"/revoke", p.serve(Revoke, p.revoke))
	mux.HandleFunc("GET "+base+"/userinfo", p.serve(Userinfo, p.userinfo))
	return mux
}

// exchange is one request under way: what it says and its line in the log. Endpoints run under the provider's lock, so
// that each request takes effect as a whole.
type exchange struct {
	form   url.Values
	header http.Header
	cookie string
	call   *Call
	now    time.Time
}

// serve puts an endpoint behind the log and the faults.
func (p *Provider) serve(e Endpoint, do func(*exchange) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		x, closing := p.arrive(e, r)
		f := p.next(e, x.call.Grant)
		var a answer
		if !f.After && f.Cut == 0 && f.strike(w, r, closing, &a) {
			panic(http.ErrAbortHandler) // returning would be an empty 200
		}
		own := a.status == 0
		if own {
			a = p.carryOut(x, do)
		}
		if (f.After || f.Cut > 0) && f.strike(w, r, closing, &a) {
			panic(http.ErrAbortHandler)
		}
		p.write(w, x, a, f, own)
	}
}

func (p *Provider) arrive(e Endpoint, r *http.Request) (*exchange, <-chan struct{}) {
	x := &exchange{form: r.Form, header: r.Header, now: p.now()}
	if c, err := r.Cookie(ssoCookie); err == nil {
		x.cookie = c.Value
	}
	_, _, basic := r.BasicAuth()
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		bearer = ""
	}
	x.call = &Call{At: x.now, Endpoint: e, Form: r.Form, Basic: basic, Bearer: bearer, Grant: r.PostForm.Get("grant_type")}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.arrive(x.call)
	return x, p.closing
}

func (p *Provider) carryOut(x *exchange, do func(*exchange) answer) answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := do(x)
	x.call.Carried, x.call.Status = a.status < 400, a.status
	return a
}

// write sends a, or its first f.Cut bytes and a reset.
func (p *Provider) write(w http.ResponseWriter, x *exchange, a answer, f Fault, own bool) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	// noted before, since whoever has the answer may ask the log at once
	p.answered(x, own && f.Cut == 0 && f.Status == 0 && f.Body == "")
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	body := a.body
	if f.Cut > 0 {
		body = body[:min(f.Cut, len(body))]
	}
	_, err := w.Write(body)
	if flushed := http.NewResponseController(w).Flush(); err == nil {
		err = flushed
	}
	if err != nil {
		p.answered(x, false)
	}
	if f.Cut > 0 {
		reset(w)
	}
}

func (p *Provider) answered(x *exchange, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x.call.Answered = yes
}

func jsonAnswer(status int, v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // a test's own claims
	}
	return answer{status, http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}, body}
}

// refuse notes the error in the log (RFC 6749 §5.2).
func (x *exchange) refuse(status int, code, description string) answer {
	x.call.Error, x.call.Description = code, description
	return jsonAnswer(status, map[string]string{"error": code, "error_description": description})
}

func (p *Provider) discovery(*exchange) answer {
	b := p.behaviour
	m := map[string]any{
		"issuer": p.Issuer, "authorization_endpoint": p.Issuer + "/authorize", "token_endpoint": p.Issuer + "/token",
		"jwks_uri": p.Issuer + "/jwks", "response_types_supported": []string{"code"},
		"grant_types_supported":   []string{"authorization_code", "refresh_token", grantExchange},
		"subject_types_supported": []string{"public"}, "scopes_supported": []string{"openid", "offline_access"},
		"code_challenge_methods_supported":               []string{"S256"},
		"token_endpoint_auth_methods_supported":          b.authMethods(),
		"id_token_signing_alg_values_supported":          []string{p.keys[0].alg},
		"authorization_response_iss_parameter_supported": b.Iss != IssOff,
	}
	if b.Algs != nil {
		m["id_token_signing_alg_values_supported"] = b.Algs
	}
	if !b.NoRevocation {
		m["revocation_endpoint"] = p.Issuer + "/revoke"
	}
	if !b.NoUserinfo {
		m["userinfo_endpoint"] = p.Issuer + "/userinfo"
	}
	if b.Metadata != nil {
		b.Metadata(m)
	}
	return jsonAnswer(http.StatusOK, m)
}

func (p *Provider) jwks(*exchange) answer {
	keys := []any{}
	for _, k := range p.keys {
		keys = append(keys, k.public())
	}
	return jsonAnswer(http.StatusOK, map[string]any{"keys": keys})
}

// userinfo takes an access token whose session lives (OpenID Connect Core §5.3).
func (p *Provider) userinfo(x *exchange) answer {
	l, ok := p.access(x.call.Bearer, x.now)
	if !ok || l.session.dead != "" || p.user(l.user).Disabled {
		a := x.refuse(http.StatusUnauthorized, "invalid_token", "Token verification failed")
		a.header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		return a
	}
	x.call.note(l)
	return jsonAnswer(http.StatusOK, p.claimsOf(p.user(l.user)))
}

func (p *Provider) claimsOf(u User) map[string]any {
	m := map[string]any{
		"sub": u.Subject(), "name": u.Name + " example", "preferred_username": u.Name,
		"email": u.Name + "@example.com", "email_verified": true, "groups": u.Groups,
	}
	if p.behaviour.UserClaims != nil {
		p.behaviour.UserClaims(u, m)
	}
	return m
}
