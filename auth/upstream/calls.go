package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"hostedmcp/auth/oauth"
)

// revokeTimeout bounds one revocation (protocol.md §6).
const revokeTimeout = 10 * time.Second

var (
	// ErrNoRevocation says that the provider advertises no revocation_endpoint.
	ErrNoRevocation = errors.New("the provider has no revocation_endpoint")
	// ErrNoUserinfo says that the provider advertises no userinfo_endpoint.
	ErrNoUserinfo = errors.New("the provider has no userinfo_endpoint")
)

// Revoke ends a refresh token at the provider (RFC 7009), once. Any 200 is success, whatever its body says: Keycloak
// answers a token that it no longer knows with 200 and an error inside, and that token is as dead as it can be. Other
// errors are ErrNoRevocation and *Failure; the caller tries again later.
func (p *Provider) Revoke(ctx context.Context, token oauth.Secret) error {
	ctx, cancel := context.WithTimeout(ctx, min(revokeTimeout, p.config.Timeout.D()))
	defer cancel()
	d, err := p.discovered.get(ctx)
	if err != nil {
		return err
	}
	if d.Revocation == "" {
		return ErrNoRevocation
	}
	var n note
	// the library's error quotes the answer; the note says all that counts
	req, err := d.revocation(noting(ctx, &n), token)
	if err != nil {
		return failure(oauth.UpstreamConfig, "revocation: the endpoint's address is not a URL")
	}
	if resp, err := p.spend.Do(req); err == nil {
		resp.Body.Close()
	}
	if n.status == http.StatusOK {
		return nil
	}
	return n.fault("revocation", p.now())
}

// revocation is the request of RFC 7009 §2.1.
func (d *discovery) revocation(ctx context.Context, token oauth.Secret) (*http.Request, error) {
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {"refresh_token"}}
	return d.post(ctx, d.Revocation, form)
}

// post is a request of ours with the client's credentials, since the library's sends an empty client_id beside the Basic
// header, which Keycloak takes for another client: 401.
func (d *discovery) post(ctx context.Context, address string, form url.Values) (*http.Request, error) {
	client := d.asking(nil, nil).config
	return postAs(ctx, address, form, d.style, client.ClientID, oauth.Secret(client.ClientSecret))
}

// postAs authenticates by the style that the metadata ask for.
func postAs(ctx context.Context, address string, form url.Values, style oauth2.AuthStyle, id string, secret oauth.Secret) (*http.Request, error) {
	if style == oauth2.AuthStyleInParams {
		form.Set("client_id", id)
		form.Set("client_secret", secret.Reveal())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if style == oauth2.AuthStyleInHeader {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret.Reveal())) // RFC 6749 §2.3.1
	}
	return req, nil
}

// Userinfo asks who an upstream access token stands for (OpenID Connect Core §5.3). body is the provider's answer: one
// JSON object with a sub, which the caller compares with its own (Subject; §5.3.2). status is the provider's, also with
// an error; 0 = no answer. A 401 says that the token is no longer good. Errors are ErrNoUserinfo and *Failure.
func (p *Provider) Userinfo(ctx context.Context, access oauth.Secret) (body json.RawMessage, status int, err error) {
	ctx, cancel := p.timeout(ctx)
	defer cancel()
	d, err := p.discovered.get(ctx)
	if err != nil {
		return nil, 0, err
	}
	if d.UserinfoURL == "" {
		return nil, 0, ErrNoUserinfo
	}
	body, err = p.get(ctx, "userinfo", d.UserinfoURL, access.Reveal())
	var f *Failure
	if errors.As(err, &f) {
		return nil, f.Status, err
	}
	if Subject(body) == "" {
		return nil, http.StatusOK, failure(oauth.UpstreamBadAnswer, "userinfo: not a JSON object with a sub")
	}
	return body, http.StatusOK, nil
}

// Subject returns the sub of a userinfo answer, "" if it has none or is not one JSON object without duplicates.
func Subject(userinfo json.RawMessage) string {
	o, err := oauth.ParseObject(userinfo, 100)
	if err != nil {
		return ""
	}
	return idClaims{o}.text("sub")
}
