package oauth

import "strings"

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

func isAlnum(c byte) bool { return isDigit(c) || isLower(c) || 'A' <= c && c <= 'Z' }

// isUnreserved is the set of RFC 3986 §2.3.
func isUnreserved(c byte) bool { return isAlnum(c) || strings.IndexByte("-._~", c) >= 0 }

// lowerASCII lowers A to Z and nothing else: strings.ToLower would make a Kelvin sign a "k".
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// unhex returns the value of two hexadecimal digits at the start of s.
func unhex(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	hi := strings.IndexByte("0123456789abcdef", s[0]|0x20)
	lo := strings.IndexByte("0123456789abcdef", s[1]|0x20)
	// Setting the case bit makes letters of '@'..'_' and digits of controls: only real digits may pass.
	if hi < 0 || lo < 0 || !isAlnum(s[0]) || !isAlnum(s[1]) {
		return 0, false
	}
	return byte(hi<<4 | lo), true
}
