package demo

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// routes is the endpoint table of doc.go. Only these of op's paths are reachable: introspection, device codes and
// logout are not offered.
func (p *Provider) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.Handle("GET /keys", p.op)
	mux.HandleFunc("GET /authorize", bound(p.authorize, true))
	mux.HandleFunc("GET /authorize/callback", bound(p.callback, false))
	mux.HandleFunc("GET /login", bound(p.signInPage, false))
	mux.HandleFunc("POST /login", bound(p.signIn, false))
	mux.HandleFunc("POST /token", p.form)
	mux.HandleFunc("POST /revoke", p.form)
	mux.HandleFunc("GET /userinfo", p.userinfo)
	mux.HandleFunc("POST /userinfo", p.userinfo)
	mux.Handle("/crm/", newCRM(p.bearer, p.opts.Now).routes())
	if p.opts.Static != nil {
		mux.Handle("GET /static/", p.opts.Static)
	}
	return p.guard(mux)
}

// guard refuses requests under another name (a page on the web could else reach us through DNS of its own) and sets
// the headers of every answer; a page may set its own.
func (p *Provider) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if !strings.HasPrefix(r.URL.Path, "/static/") {
			h.Set("Cache-Control", "no-store")
		}
		if "http://"+r.Host != p.issuer {
			http.Error(w, "The demo provider is at "+p.issuer+".", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// form hands a small form on to op.
func (p *Provider) form(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	p.op.ServeHTTP(w, r)
}

type stateKey struct{}

// authorize hands an authorization request on to op, but for its state: op would log it with a refusal, and to our one
// client it is a secret. It comes back with the redirect.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	if len(r.URL.RawQuery) > 8<<10 {
		http.Error(w, "The request is too long.", http.StatusRequestURITooLong)
		return
	}
	query := r.URL.Query()
	state := query.Get("state")
	query.Del("state")
	r = r.Clone(context.WithValue(r.Context(), stateKey{}, state))
	r.URL.RawQuery = query.Encode()
	p.op.ServeHTTP(p.completed(w, url.Values{"state": {state}}), r)
}

// stateOf returns what authorize kept from op.
func stateOf(ctx context.Context) string {
	state, _ := ctx.Value(stateKey{}).(string)
	return state
}

// callback hands the browser of a finished sign-in to op, which makes the code.
func (p *Provider) callback(w http.ResponseWriter, r *http.Request) {
	p.op.ServeHTTP(p.completed(w, url.Values{}), r)
}

// completed returns a writer that adds iss (RFC 9207 §2) and more to what is sent back to the client.
func (p *Provider) completed(w http.ResponseWriter, more url.Values) http.ResponseWriter {
	more.Set("iss", p.issuer)
	return &redirectWriter{w, p.opts.RedirectURI, more.Encode()}
}

// redirectWriter is a ResponseWriter that completes Location headers beginning with the client's redirect URI.
type redirectWriter struct {
	http.ResponseWriter
	redirect, more string
}

// WriteHeader completes the header and sends it. op always puts a query behind the redirect URI.
func (w *redirectWriter) WriteHeader(status int) {
	if to := w.Header().Get("Location"); strings.HasPrefix(to, w.redirect) {
		w.Header().Set("Location", to+"&"+w.more)
	}
	w.ResponseWriter.WriteHeader(status)
}

// discovery is written here since op's document offers what we do not, and does not know RFC 9207.
func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         p.issuer,
		"authorization_endpoint":                         p.issuer + "/authorize",
		"token_endpoint":                                 p.issuer + "/token",
		"userinfo_endpoint":                              p.issuer + "/userinfo",
		"revocation_endpoint":                            p.issuer + "/revoke",
		"jwks_uri":                                       p.issuer + "/keys",
		"scopes_supported":                               []string{"openid", "profile", "email", "offline_access"},
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{algorithm},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post"},
		"revocation_endpoint_auth_methods_supported":     []string{"client_secret_basic", "client_secret_post"},
		"code_challenge_methods_supported":               []string{"S256"},
		"claims_supported":                               []string{"sub", "name", "preferred_username", "email", "email_verified", "groups"},
		"authorization_response_iss_parameter_supported": true,
	})
}

// userinfo answers OpenID Connect Core §5.3 in op's place: op says 403 for a revoked token, and RFC 6750 §3.1 wants
// 401 with a challenge, which is what tells a client to refresh.
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	subject, err := p.subjectOf(r)
	info := new(oidc.UserInfo)
	if err == nil {
		err = p.store.setClaims(info, subject)
	}
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		return
	}
	writeJSON(w, http.StatusOK, info)
}

// subjectOf returns for whom the bearer token of a request was issued, by this provider, in a session that lives. An
// error says nothing but that there is no such token.
func (p *Provider) subjectOf(r *http.Request) (string, error) {
	ctx := op.ContextWithIssuer(r.Context(), p.issuer)
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	claims, err := op.VerifyAccessToken[*oidc.AccessTokenClaims](ctx, token, p.op.AccessTokenVerifier(ctx))
	if err != nil {
		return "", err
	}
	if !strings.EqualFold(scheme, "Bearer") || !p.store.living(claims.JWTID) {
		return "", errSealed
	}
	// The audience is our one client: the token of a provider with more of them would not be enough.
	if !slices.Contains(claims.Audience, ClientID) {
		return "", errSealed
	}
	return claims.Subject, nil
}

// bearer returns whose token a request carries.
func (p *Provider) bearer(r *http.Request) (User, error) {
	subject, err := p.subjectOf(r)
	if err != nil {
		return User{}, err
	}
	user, known := p.store.users[subject]
	if !known {
		return User{}, errSealed
	}
	return user, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the connection is gone: nobody to tell
}
