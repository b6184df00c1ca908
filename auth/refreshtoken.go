package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"hostedmcp/auth/oauth"
)

// A refresh token authenticates itself (protocol.md §5.3): current, previous, older and forged tokens are told apart
// for ever although only the current generation is stored.
//
//	hmcp_rt_ base64url( version 1 | grant id 26 | generation 4, big endian | HMAC-SHA-256 32 )
//
// The HMAC is under the grant's own key, over all that stands before it and the client id. The prefixes of our
// credentials serve secret scanners.
const (
	refreshPrefix  = "hmcp_rt_" // refresh token
	codePrefix     = "hmcp_ac_" // authorization code
	ticketPrefix   = "hmcp_tk_" // ticket in the consent form
	clientIDPrefix = "hmcp_ci_" // id of a dynamic registration

	refreshVersion = 1  // of the layout; another is none of ours
	grantIDSize    = 26 // of rand.Text
	refreshHead    = 1 + grantIDSize + 4
	refreshSize    = refreshHead + sha256.Size
)

// refreshToken is a presented refresh token, taken apart but not yet believed.
type refreshToken struct {
	grantID string
	gen     uint32
	head    []byte // what the MAC is over
	mac     []byte // not compared yet
}

// mintRefreshToken returns the refresh token of generation gen. The same arguments give the same token: a retry gets
// the same successor without anything stored.
func mintRefreshToken(key []byte, grantID string, gen uint32, clientID string) oauth.Secret {
	raw := make([]byte, 0, refreshSize)
	raw = append(raw, refreshVersion)
	raw = append(raw, grantID...)
	raw = binary.BigEndian.AppendUint32(raw, gen)
	raw = append(raw, refreshMAC(key, raw, clientID)...)
	return oauth.Secret(refreshPrefix + base64.RawURLEncoding.EncodeToString(raw))
}

// parseRefreshToken takes s apart; ok is false when it cannot be one of ours. Strict decoding and one length: a token
// has one spelling, so that two spellings never look like two holders.
func parseRefreshToken(s string) (t refreshToken, ok bool) {
	encoded, found := strings.CutPrefix(s, refreshPrefix)
	if !found || len(encoded) != base64.RawURLEncoding.EncodedLen(refreshSize) {
		return t, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) != refreshSize || raw[0] != refreshVersion {
		return t, false
	}
	return refreshToken{
		grantID: string(raw[1 : 1+grantIDSize]),
		gen:     binary.BigEndian.Uint32(raw[1+grantIDSize:]),
		head:    raw[:refreshHead],
		mac:     raw[refreshHead:],
	}, true
}

// authentic says whether t was minted by us for a grant with this key and client. An empty key authenticates nothing:
// a record without one must not make everybody's MAC over nothing good.
func (t refreshToken) authentic(key []byte, clientID string) bool {
	return len(key) > 0 && hmac.Equal(t.mac, refreshMAC(key, t.head, clientID))
}

// refreshMAC covers the client id, which is not in the token itself: moved to another client's grant, it would not
// hold. All parts before it are of fixed size, so that no other parts give the same message.
func refreshMAC(key, head []byte, clientID string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(head)
	m.Write([]byte(clientID))
	return m.Sum(nil)
}
