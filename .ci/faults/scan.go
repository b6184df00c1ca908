package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// The search for credentials in what was shown and stored. A credential is searched by its end, which is the part that
// nobody can guess (a token begins with names); as it is, escaped for a URL, in hexadecimal and base64, and as the bytes
// that it encodes.

// needle is one form of one secret.
type needle struct {
	text  string
	value string // the secret
}

// needleSize is how much of the end is searched.
const needleSize = 24

// index finds the needles that begin with some bytes.
type index map[[8]byte][]needle

func (x index) add(form, value string) {
	form = form[max(0, len(form)-needleSize):]
	if len(form) < shortest {
		return
	}
	key := [8]byte([]byte(form[:8]))
	if n := (needle{form, value}); !slices.Contains(x[key], n) {
		x[key] = append(x[key], n)
	}
}

// index returns the needles of everything that gives a secret away.
func (r *recorder) index() index {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := index{}
	for v := range r.secrets {
		binary := []string{v}
		if raw := decoded(v[strings.LastIndexByte(v, '.')+1:]); len(raw) >= shortest {
			binary = append(binary, string(raw))
		}
		if raw, err := hex.DecodeString(v); err == nil {
			binary = append(binary, string(raw))
		}
		x.add(url.QueryEscape(v), v)
		for _, b := range binary {
			x.add(b, v)
			x.add(hex.EncodeToString([]byte(b)), v)
			x.add(strings.ToUpper(hex.EncodeToString([]byte(b))), v)
			// what does not fill three bytes at the end depends on what follows
			x.add(base64.RawStdEncoding.EncodeToString([]byte(b)[:len(b)/3*3]), v)
			x.add(base64.RawURLEncoding.EncodeToString([]byte(b)[:len(b)/3*3]), v)
		}
	}
	return x
}

// in returns the secrets in a text.
func (x index) in(said string) (out []string) {
	for i := 0; i+8 <= len(said); i++ {
		for _, n := range x[[8]byte([]byte(said[i:i+8]))] {
			if strings.HasPrefix(said[i:], n.text) && !slices.Contains(out, n.value) {
				out = append(out, n.value)
			}
		}
	}
	return out
}

// lawful says whether a page may hold a secret: a form token, in the browser that it was made for.
func lawful(s secret, t text) bool {
	isForm := slices.ContainsFunc(s.kinds, func(kind string) bool { return strings.HasPrefix(kind, "form ") })
	return isForm && s.owner == t.owner && t.owner != ""
}

// scan holds every text against every secret, and then proves with each that it would have found them: a text with all
// of them in it must give them all away.
func (r *recorder) scan(violation func(string, ...any)) (bytes int) {
	x := r.index()
	var planted strings.Builder
	for v := range r.secrets {
		planted.WriteString(" " + v)
	}
	for n, t := range r.texts {
		bytes += len(t.said)
		for _, v := range x.in(t.said) {
			if s := r.secrets[v]; !lawful(s, t) {
				at := strings.Index(t.said, v[max(0, len(v)-needleSize):])
				violation("%s holds a credential: %v (at byte %d of %d)", t.from, s.kinds, at, len(t.said))
			}
		}
		// as log lines, pages and files would hold it: in the middle
		half := len(t.said) / 2
		if found := x.in(t.said[max(0, half-1000):half] + planted.String() + t.said[half:min(len(t.said), half+1000)]); len(found) < len(r.secrets) {
			violation("planted in %s (text %d) are %d secrets, found are %d", t.from, n, len(r.secrets), len(found))
		}
	}
	return bytes
}

// kinds counts the secrets, so that a run that saw none of a kind proves nothing.
func (r *recorder) kinds() map[string]int {
	out := map[string]int{}
	for _, s := range r.secrets {
		for _, kind := range s.kinds {
			out[kind]++
		}
	}
	return out
}

// complete says which kinds must have been seen.
func (r *recorder) complete(must []string) error {
	kinds := r.kinds()
	var missing []string
	for _, kind := range must {
		if kinds[kind] == 0 {
			missing = append(missing, kind)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the run saw no %v; it saw %v", missing, kinds)
	}
	return nil
}
