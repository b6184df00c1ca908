package auth

import (
	"errors"
	"slices"
	"strings"

	"hostedmcp/auth/upstream"
)

// Who may sign in (protocol.md §4.5 step 9, §8.1 rule 9). These words are for the log; the browser is told
// access_rule and no more, so that nobody learns from us which groups there are.
var (
	errNoGroup  = errors.New("none of the user's groups is in access.groups")
	errNoDomain = errors.New("the user has no verified e-mail address in access.email_domains")
)

// check holds verified claims against the access rules; every rule that is configured must be met. It is asked at
// login and again whenever the provider renews the claims. A provider that sends no groups has said that there are
// none: such a user meets no rule about them.
func (c AccessConfig) check(claims upstream.Claims) error {
	if len(c.Groups) > 0 && !slices.ContainsFunc(claims.Groups, func(g string) bool { return slices.Contains(c.Groups, g) }) {
		return errNoGroup
	}
	if len(c.EmailDomains) > 0 && !c.domainAllowed(claims) {
		return errNoDomain
	}
	return nil
}

// domainAllowed counts only an address that the provider has verified: anybody can write any other.
func (c AccessConfig) domainAllowed(claims upstream.Claims) bool {
	// the last one: a quoted local part may hold another (RFC 5321 §4.1.2)
	at := strings.LastIndexByte(claims.Email, '@')
	if at < 1 || !claims.EmailVerified {
		return false
	}
	domain := claims.Email[at+1:]
	return slices.ContainsFunc(c.EmailDomains, func(d string) bool { return strings.EqualFold(d, domain) })
}
