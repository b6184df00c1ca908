package connector

import (
	"slices"

	"hostedmcp/auth/oauth"
)

// Rule is what holds for one tool, prompt or resource: the one decision behind lists and calls. It is made once for all
// users; what is left to ask of a user are groups and scopes.
type Rule struct {
	Hidden bool        // from everybody
	Groups [][]string  // one of each list is needed to know of it
	Scopes oauth.Scope // all are needed to call it; who lacks some may know of it and is asked for more
}

// Rule decides about the tool, prompt or resource that the connector calls name (a resource by its URI). reads says
// that it changes nothing: a tool that says so itself, any prompt, any resource.
func (c Config) Rule(name string, reads bool) Rule {
	r := c.Whole()
	if len(c.Allow) > 0 && !matchAny(c.Allow, name) || matchAny(c.Deny, name) {
		return Rule{Hidden: true}
	}
	readOnly := c.ReadOnly != nil && *c.ReadOnly
	if i := slices.IndexFunc(c.Tools, func(t ToolConfig) bool { return Match(t.Name, name) }); i >= 0 {
		t := c.Tools[i]
		if t.ReadOnly != nil {
			readOnly = *t.ReadOnly
		}
		r.Scopes = r.Scopes.Union(t.Scopes)
		if len(t.Groups) > 0 {
			r.Groups = append(r.Groups, t.Groups)
		}
	}
	r.Hidden = readOnly && !reads
	return r
}

// Whole is what holds for the connector as such: whoever may not know of it may know of nothing in it.
func (c Config) Whole() Rule {
	r := Rule{Scopes: oauth.Scope(nil).Union(c.Scopes)}
	if len(c.Groups) > 0 {
		r.Groups = [][]string{c.Groups}
	}
	return r
}

// Open reports whether a user of these groups may know of it. Without required groups groups may be nil.
func (r Rule) Open(groups []string) bool {
	if r.Hidden {
		return false
	}
	for _, needed := range r.Groups {
		if !slices.ContainsFunc(needed, func(g string) bool { return slices.Contains(groups, g) }) {
			return false
		}
	}
	return true
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return Match(p, name) })
}

// Match reports whether name fits pattern, in which * is any number of any characters and all else is itself. Case
// counts. It takes at most len(pattern) times len(name) steps.
func Match(pattern, name string) bool {
	star, from := -1, 0 // the last * seen, and where in name its part ends so far
	p, n := 0, 0
	for n < len(name) {
		switch {
		// before the literal: a * in the pattern is never one, even where name has one too
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0: // let it have one more
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
