package oauth

import (
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// What is wrong with a URI, each with what to change. None shows the URI itself: it may come from a stranger.
var (
	errURIBytes     = errors.New("use only the characters of a URI: no space, control, backslash, quote, angle bracket or *")
	errURILong      = errors.New("the URI is too long")
	errURIScheme    = errors.New("begin with a scheme in lower case and a colon")
	errURIEscape    = errors.New("remove the escape: no broken one, no encoded slash, backslash or control character")
	errURIFragment  = errors.New("remove the fragment (#...)")
	errURIUser      = errors.New("remove the user name before @")
	errURIDots      = errors.New("remove . and .. from the path")
	errURIHost      = errors.New("name the host by its DNS name, without a trailing dot")
	errURIPort      = errors.New("write the port as 1 to 65535 without leading zero, or leave it out with its colon")
	errURISlashes   = errors.New("write // after the scheme")
	errURIAnswer    = errors.New("remove code, state, iss and error from the query: the answer uses these names")
	errURIOwn       = errors.New("name the client's own address, not this server's")
	errURINeedPath  = errors.New("name a path beyond /")
	errURINeedHTTPS = errors.New("use https")
)

// uri is a URI cut into its parts, of which no byte is changed (RFC 3986 §3). There is no fragment.
type uri struct {
	scheme    string
	slashes   bool // an authority follows the scheme, maybe an empty one
	authority string
	path      string
	query     string
}

// cutURI cuts what consists of the characters of a URI only. We cut by hand since url.Parse is lenient and
// normalises: what is compared, shown and sent to a browser must be the same bytes.
func cutURI(s string) (uri, error) {
	if err := checkBytes(s); err != nil {
		return uri{}, err
	}
	var u uri
	var ok bool
	u.scheme, s, ok = strings.Cut(s, ":")
	if !ok || !validScheme(u.scheme) {
		return uri{}, errURIScheme
	}
	s, u.query, _ = strings.Cut(s, "?")
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		u.slashes = true
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			u.authority, s = rest[:i], rest[i:]
		} else {
			u.authority, s = rest, ""
		}
	}
	u.path = s
	return u, u.check()
}

// checkBytes refuses what RFC 3986 §2 does not allow, '*' (a wildcard to somebody), the fragment, and escapes that
// servers and browsers are known to read in different ways.
func checkBytes(s string) error {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '#':
			return errURIFragment
		case c == '%':
			b, err := hex.DecodeString(s[i+1 : min(i+3, len(s))])
			if err != nil || len(b) != 1 || b[0] < 0x20 || b[0] == 0x7f || b[0] == '/' || b[0] == '\\' {
				return errURIEscape
			}
		case !isUnreserved(c) && strings.IndexByte("!$&'()+,;=:@/?[]", c) < 0:
			return errURIBytes
		}
	}
	return nil
}

// validScheme reports whether s is a scheme as producers should write it: in lower case (RFC 3986 §3.1).
func validScheme(s string) bool {
	for i := range len(s) {
		if !isLower(s[i]) && (i == 0 || !isDigit(s[i]) && strings.IndexByte("+-.", s[i]) < 0) {
			return false
		}
	}
	return s != ""
}

func (u uri) check() error {
	if strings.Contains(u.authority, "@") {
		return errURIUser
	}
	// Brackets belong to an IPv6 host only (RFC 3986 §3.2.2).
	if strings.ContainsAny(u.path+u.query, "[]") {
		return errURIBytes
	}
	for segment := range strings.SplitSeq(u.path, "/") {
		plain := strings.ReplaceAll(lowerASCII(segment), "%2e", ".")
		if plain == "." || plain == ".." {
			return errURIDots
		}
	}
	return nil
}

// answers reports whether the query holds a name that an authorization answer uses (RFC 6749 §4.1.2, RFC 9207 §2),
// encoded or in other letters too: a client that reads loosely would see two values.
func (u uri) answers() bool {
	pairs := strings.FieldsFunc(u.query, func(r rune) bool { return r == '&' || r == ';' })
	return slices.ContainsFunc(pairs, func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		name = lowerASCII(name)
		return err != nil || name == "code" || name == "state" || name == "iss" || strings.HasPrefix(name, "error")
	})
}
