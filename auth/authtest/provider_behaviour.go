package authtest

import "time"

// Rotation says what happens to a refresh token that is used again. Strict and Reuse behave as Keycloak 26.7 was
// measured: the whole client session dies with the reuse, tokens of its siblings too, in Keycloak's words.
type Rotation int

// The rotation modes.
const (
	RotationNone   Rotation = iota // every refresh token stays valid
	RotationReuse                  // the latest used one may be used once more
	RotationStrict                 // a second use kills
)

// IssMode says what the provider does about RFC 9207.
type IssMode int

// The modes of the iss parameter.
const (
	IssOn      IssMode = iota // promised and sent
	IssOff                    // neither
	IssWrong                  // promised, another issuer sent
	IssMissing                // promised, not sent
)

// Behaviour is how the provider answers. The zero value keeps all the rules.
type Behaviour struct {
	Rotation    Rotation
	AccessLife  time.Duration // expires_in; 0 = 5 min
	RefreshLife time.Duration // of an online refresh token, counted from its issue; 0 = 30 min. Offline ones live for ever

	NoRefreshToken   bool // none in any answer
	NoIDToken        bool // none in a login's answer
	NoRefreshIDToken bool // none in a refresh's answer
	RefreshNonce     bool // the id_token of a refresh repeats the nonce; Keycloak's does not
	NoRefreshExpires bool // refresh_expires_in is left out; else it is stated, 0 for offline tokens

	AutoLogin      string // name of a user who is signed in at once, without a form; "" = a form
	SharedSession  bool   // logins of one user share one provider session and its sid
	AuthorizeError string // answers every authorization request with this error
	Iss            IssMode

	SignWith     string   // alg of id_tokens: ES256 (""), ES384, RS256, PS256, EdDSA; takes effect with RotateKey
	Algs         []string // advertised; nil = the alg of the current key
	AuthMethods  []string // advertised and enforced; nil = client_secret_basic
	NoRevocation bool     // no revocation_endpoint
	NoUserinfo   bool     // no userinfo_endpoint
	NoExchange   bool     // token exchange is switched off
	Audiences    []string // of token exchange; nil = crm-api

	// The last word on what is said. Each may change, add and delete.
	Metadata    func(m map[string]any)
	IDToken     func(t *IDToken)
	TokenAnswer func(refresh bool, m map[string]any)
	UserClaims  func(u User, m map[string]any) // of id_token and userinfo
}

func (b Behaviour) accessLife() time.Duration {
	if b.AccessLife == 0 {
		return 5 * time.Minute
	}
	return b.AccessLife
}

func (b Behaviour) refreshLife() time.Duration {
	if b.RefreshLife == 0 {
		return 30 * time.Minute
	}
	return b.RefreshLife
}

func (b Behaviour) signingAlg() string {
	if b.SignWith == "" {
		return "ES256"
	}
	return b.SignWith
}

func (b Behaviour) authMethods() []string {
	if b.AuthMethods == nil {
		return []string{"client_secret_basic"}
	}
	return b.AuthMethods
}
