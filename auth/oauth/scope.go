package oauth

import (
	"errors"
	"slices"
	"strings"
)

// maxScope is the longest scope parameter in bytes (protocol.md §4.1).
const maxScope = 1024

// Scope is an ordered list of distinct scope names (RFC 6749 §3.3). nil is no scope.
type Scope []string

// ParseScope reads a scope parameter: names with exactly one space between them (RFC 6749 §3.3). Repeated names count
// once, "" is the empty scope.
func ParseScope(s string) (Scope, error) {
	if len(s) > maxScope {
		return nil, errors.New("the scope is too long")
	}
	if s == "" {
		return nil, nil
	}
	var out Scope
	for name := range strings.SplitSeq(s, " ") {
		if !validScopeName(name) {
			return nil, errors.New("the scope is malformed")
		}
		if !out.Has(name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// validScopeName reports whether s is a scope-token: printable ASCII without space, quote and backslash.
func validScopeName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// String writes the scope as the wire has it.
func (s Scope) String() string { return strings.Join(s, " ") }

// Has reports whether name is in s.
func (s Scope) Has(name string) bool { return slices.Contains(s, name) }

// Contains reports whether every name of other is in s. Every scope contains the empty one.
func (s Scope) Contains(other Scope) bool {
	return !slices.ContainsFunc(other, func(name string) bool { return !s.Has(name) })
}

// Keep returns the names of s that are known, in the order of s; nil if none is.
func (s Scope) Keep(known Scope) Scope {
	var out Scope
	for _, name := range s {
		if known.Has(name) {
			out = append(out, name)
		}
	}
	return out
}

// Union returns the names of s, then those of other that s lacks. Neither is changed.
func (s Scope) Union(other Scope) Scope {
	out := slices.Clone(s)
	for _, name := range other {
		if !out.Has(name) {
			out = append(out, name)
		}
	}
	return out
}

// Without returns the names of s but name; s is not changed.
func (s Scope) Without(name string) Scope {
	return slices.DeleteFunc(slices.Clone(s), func(n string) bool { return n == name })
}
