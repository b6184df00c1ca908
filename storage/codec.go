package storage

import (
	"encoding/binary"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// A record is stored as its fields in a fixed order, after one version byte. The order is written down once, in the
// record's method fields, which both writes and reads: a field added later comes last, reads as its zero value from an
// older record, and is passed over by an older program.
//
// Numbers are varints, texts and bytes carry their length, times are Unix seconds (0 = the zero time). There is no
// reflection and one allocation for all texts: a grant is decoded at every MCP call.
type record interface{ fields(c *codec) }

const recordVersion = 1

// codec walks over the fields of a record, writing or reading.
type codec struct {
	out     []byte
	in      string
	reading bool
	bad     bool
}

// encode returns the bytes of a record.
func encode(r record) []byte {
	c := codec{out: append(make([]byte, 0, 256), recordVersion)}
	r.fields(&c)
	return c.out
}

// decode fills r, and reports whether the bytes hold a record.
func decode(data []byte, r record) bool {
	if len(data) == 0 || data[0] != recordVersion {
		return false
	}
	c := codec{in: string(data[1:]), reading: true}
	r.fields(&c)
	return !c.bad
}

// number reads a varint; behind the last field everything is 0.
func (c *codec) number() uint64 {
	var n uint64
	for i := 0; i < len(c.in); i++ {
		b := c.in[i]
		n |= uint64(b&0x7f) << (7 * min(i, 9))
		if b < 0x80 {
			c.in = c.in[i+1:]
			return n
		}
	}
	c.bad = c.bad || c.in != ""
	c.in = ""
	return 0
}

// num walks over an unsigned number or an enumeration.
func num[T ~uint8 | ~uint32 | ~uint64 | ~int](c *codec, v *T) {
	if c.reading {
		*v = T(c.number())
		return
	}
	c.out = binary.AppendUvarint(c.out, uint64(*v))
}

// text walks over a string or bytes.
func text[T ~string | ~[]byte](c *codec, v *T) {
	if !c.reading {
		c.out = binary.AppendUvarint(c.out, uint64(len(*v)))
		c.out = append(c.out, *v...)
		return
	}
	n := c.number()
	if n > uint64(len(c.in)) { // cut off, or damaged: never a reason to allocate
		c.bad = true
		return
	}
	if n > 0 {
		*v = T(c.in[:n])
	}
	c.in = c.in[n:]
}

// flag walks over a yes or no.
func flag(c *codec, v *bool) {
	var n uint8
	if *v {
		n = 1
	}
	num(c, &n)
	*v = n == 1
}

// when walks over a wall-clock time, to the second.
func when(c *codec, v *time.Time) {
	var n uint64
	if !v.IsZero() {
		n = uint64(max(v.Unix(), 1)) // a clock before 1970 is a clock not set
	}
	num(c, &n)
	if c.reading && n != 0 {
		*v = time.Unix(int64(n), 0).UTC()
	}
}

// hash walks over a SHA-256 sum.
func hash(c *codec, v *[32]byte) {
	s := v[:]
	text(c, &s)
	if c.reading {
		c.bad = c.bad || len(s) != len(v)
		copy(v[:], s)
	}
}

// list walks over strings or bytes; none reads back as nil.
func list[T ~string | ~[]byte](c *codec, v *[]T) {
	n := len(*v)
	num(c, &n)
	if c.reading {
		if n > len(c.in) { // each element takes a byte at least
			c.bad = true
			return
		}
		*v = make([]T, n)
		if n == 0 {
			*v = nil
		}
	}
	for i := range *v {
		text(c, &(*v)[i])
	}
}

// scope walks over scope names, none of which holds a space (RFC 6749 §3.3).
func scope(c *codec, v *oauth.Scope) {
	joined := strings.Join(*v, " ")
	text(c, &joined)
	if c.reading && joined != "" {
		*v = strings.Split(joined, " ")
	}
}
