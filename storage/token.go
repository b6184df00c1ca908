package storage

import (
	"encoding/base64"
	"encoding/binary"
	"strings"

	"hostedmcp/auth/oauth"
)

// The provider's tokens are most of what a grant takes on disk, and most of them are JWTs. Such a token is stored as
// the bytes that its parts encode, a quarter less. What would not come back byte for byte is stored as it is.
//
//	number of parts (varint, 0 = as it is) │ { length (varint) │ bytes } …
var base64url = base64.RawURLEncoding.Strict() // without trailing bits that would get lost

const partsMost = 5 // of a JWE

// token walks over a credential of the provider.
func token(c *codec, v *oauth.Secret) {
	if !c.reading {
		c.out = pack(c.out, v.Reveal())
		return
	}
	var n int
	num(c, &n)
	if n == 0 {
		text(c, v)
		return
	}
	parts := make([]string, min(n, partsMost))
	for i := range parts {
		var raw []byte
		text(c, &raw)
		parts[i] = base64url.EncodeToString(raw)
	}
	c.bad = c.bad || n > partsMost
	*v = oauth.Secret(strings.Join(parts, "."))
}

func pack(out []byte, s string) []byte {
	parts := strings.Split(s, ".")
	if len(parts) < 3 || len(parts) > partsMost {
		return packPlain(out, s)
	}
	packed := binary.AppendUvarint(out, uint64(len(parts)))
	for _, part := range parts {
		raw, err := base64url.DecodeString(part)
		if err != nil || strings.ContainsAny(part, "\r\n") { // the decoder passes over line breaks
			return packPlain(out, s)
		}
		packed = binary.AppendUvarint(packed, uint64(len(raw)))
		packed = append(packed, raw...)
	}
	return packed
}

func packPlain(out []byte, s string) []byte {
	out = append(out, 0)
	out = binary.AppendUvarint(out, uint64(len(s)))
	return append(out, s...)
}
