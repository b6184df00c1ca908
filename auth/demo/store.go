package demo

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"hostedmcp/auth/oauth"
)

const algorithm = string(jose.ES256)

// store is what zitadel's op asks (op.Storage); most answers are in the sealed values that it brings along.
type store struct {
	client    client
	secret    oauth.Secret
	users     map[string]User // by subject
	subjects  map[string]string
	accessTTL time.Duration
	now       func() time.Time
	sealer    sealer
	private   *ecdsa.PrivateKey
	keyID     string
	spent     *memory // codes
	revoked   *memory // sessions
}

func newStore(o Options) (*store, error) {
	sealing, err := derive(o.Key, "seal")
	if err != nil {
		return nil, err
	}
	private, err := signingKey(o.Key)
	if err != nil {
		return nil, err
	}
	thumbprint, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return nil, err
	}
	secret, err := ClientSecret(o.Key)
	if err != nil {
		return nil, err
	}
	s := &store{
		client: client{o.RedirectURI}, secret: secret, accessTTL: o.AccessTTL, now: o.Now,
		users: map[string]User{}, subjects: map[string]string{},
		sealer: sealer{sealing, o.Now}, private: private, keyID: base64.RawURLEncoding.EncodeToString(thumbprint),
		spent: newMemory(10_000, o.Now), revoked: newMemory(10_000, o.Now),
	}
	for _, u := range o.Config.Users {
		sub := subject(o.Key, u.Name)
		s.users[sub], s.subjects[u.Name] = u, sub
	}
	return s, nil
}

// CreateAuthRequest judges what op leaves open and seals the request. Every refusal goes back to the client.
func (s *store) CreateAuthRequest(ctx context.Context, in *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	switch {
	case in.CodeChallengeMethod != oidc.CodeChallengeMethodS256 || !oauth.ValidChallenge(in.CodeChallenge): // RFC 7636 §4.2
		return nil, oidc.ErrInvalidRequest().WithDescription("a code_challenge with the method S256 is required")
	case in.ResponseMode != "" && in.ResponseMode != oidc.ResponseModeQuery:
		return nil, oidc.ErrInvalidRequest().WithDescription("the response_mode is not supported")
	case !slices.Contains(in.Scopes, oidc.ScopeOpenID):
		return nil, oidc.ErrInvalidScope().WithDescription("the scope openid is required")
	case slices.Contains(in.Prompt, oidc.PromptNone): // OpenID Connect Core §3.1.2.1: nobody is ever signed in here already
		return nil, oidc.ErrLoginRequired()
	}
	r := &request{
		Browser: browserOf(ctx), Redirect: in.RedirectURI, State: stateOf(ctx), Nonce: in.Nonce,
		Challenge: in.CodeChallenge, session: session{Scopes: in.Scopes},
	}
	var err error
	r.id, err = s.sealer.seal(kindRequest, r, requestLife)
	return r, err
}

// asked opens a request that waits for a sign-in in this browser.
func (s *store) asked(ctx context.Context, sealed string) (*request, error) {
	return s.open(ctx, kindRequest, sealed)
}

// answer seals the request together with the user who signed in: the start of a session.
func (s *store) answer(r *request, name string) (string, error) {
	done := *r
	done.session = session{ID: rand.Text(), Subject: s.subjects[name], SignedIn: s.now().Unix(), Scopes: r.Scopes}
	return s.sealer.seal(kindAnswer, done, answerLife)
}

// AuthRequestByID opens a request whose user has signed in, in the same browser.
func (s *store) AuthRequestByID(ctx context.Context, id string) (op.AuthRequest, error) {
	return s.open(ctx, kindAnswer, id)
}

func (s *store) open(ctx context.Context, k kind, sealed string) (*request, error) {
	r := &request{id: sealed}
	if err := s.sealer.open(k, sealed, r); err != nil {
		return nil, err
	}
	if !same(r.Browser, browserOf(ctx)) {
		return nil, errBrowser
	}
	return r, nil
}

// AuthRequestByCode opens a code. It is spent later, when client and verifier have been checked.
func (s *store) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	r := &request{id: digest(code)}
	if err := s.sealer.open(kindCode, code, r); err != nil {
		return nil, err
	}
	return r, nil
}

// CreateAccessToken spends the code and names a token of its session. Its end is in real time, as op signs it.
func (s *store) CreateAccessToken(_ context.Context, in op.TokenRequest) (string, time.Time, error) {
	of, err := s.begin(in)
	if err != nil {
		return "", time.Time{}, err
	}
	return of.ID + "." + rand.Text(), time.Now().Add(s.accessTTL), nil
}

// CreateAccessAndRefreshTokens is CreateAccessToken with a refresh token; one that was presented stays as it is.
func (s *store) CreateAccessAndRefreshTokens(ctx context.Context, in op.TokenRequest, current string) (string, string, time.Time, error) {
	id, expires, err := s.CreateAccessToken(ctx, in)
	if err != nil || current != "" {
		return id, current, expires, err
	}
	refresh, err := s.sealer.seal(kindRefresh, in.(*request).session, 0)
	return id, refresh, expires, err
}

// begin returns the session that tokens are asked for. A code used twice ends what it began (RFC 6749 §4.1.2).
func (s *store) begin(in op.TokenRequest) (*session, error) {
	switch in := in.(type) {
	case *session:
		return in, nil
	case *request:
		if s.spent.add(in.id, s.now().Add(codeLife)) && !s.revoked.has(in.ID) {
			return &in.session, nil
		}
		s.revoked.add(in.ID, time.Time{})
		return nil, oidc.ErrInvalidGrant().WithDescription("the code has been used")
	}
	return nil, oidc.ErrUnsupportedGrantType()
}

// TokenRequestByRefreshToken opens a refresh token whose session nobody revoked and whose user still exists.
func (s *store) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	var of session
	if err := s.sealer.open(kindRefresh, token, &of); err != nil {
		return nil, err
	}
	if _, known := s.users[of.Subject]; !known || s.revoked.has(of.ID) {
		return nil, errSealed
	}
	return &of, nil
}

// GetRefreshTokenInfo tells op what a token to be revoked is; access tokens it reads itself.
func (s *store) GetRefreshTokenInfo(_ context.Context, _, token string) (string, string, error) {
	var of session
	if err := s.sealer.open(kindRefresh, token, &of); err != nil {
		return "", "", op.ErrInvalidRefreshToken
	}
	return of.Subject, of.ID, nil
}

// RevokeToken ends the session of a token: its id, or the jti of an access token, which begins with it. Without a
// subject op could not read the token, and RFC 7009 §2.2 wants the answer 200 all the same.
func (s *store) RevokeToken(_ context.Context, id, subject, _ string) *oidc.Error {
	if subject != "" {
		s.revoked.add(sessionOf(id), time.Time{})
	}
	return nil
}

// sessionOf returns the session that the jti of an access token names.
func sessionOf(jti string) string {
	id, _, _ := strings.Cut(jti, ".")
	return id
}

// living reports whether jti is that of an access token (an id_token, signed by the same key, has none) whose session
// nobody revoked.
func (s *store) living(jti string) bool {
	id := sessionOf(jti)
	return id != "" && id != jti && !s.revoked.has(id)
}

// setClaims says who the user is, whatever scopes were asked beside openid: as Keycloak's default client scopes do.
func (s *store) setClaims(to *oidc.UserInfo, subject string) error {
	u, known := s.users[subject]
	if !known {
		return errSealed
	}
	first, size := utf8.DecodeRuneInString(u.Name)
	to.Subject = subject
	to.Name = string(unicode.ToUpper(first)) + u.Name[size:]
	to.PreferredUsername = u.Name
	to.Email, to.EmailVerified = u.Email, oidc.Bool(u.Email != "")
	to.AppendClaims("groups", append([]string{}, u.Groups...))
	return nil
}

var errBrowser = errors.New("begun in another browser")
