package connector

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// credentialFaults checks that the credential has what it needs, and nothing that another kind of it would need.
func (c Config) credentialFaults(f *faults) {
	switch c.Credential {
	case CredentialNone, CredentialUser, CredentialExchange, CredentialStatic:
	default:
		f.add("credential", "%q is none: write none, user, exchange or static", c.Credential)
		return
	}
	needs := func(key, value string, kind CredentialKind) {
		switch {
		case value == "" && c.Credential == kind:
			f.add(key, "credential %s needs it", kind)
		case value != "" && c.Credential != kind:
			f.add(key, "is for credential %s only: remove it", kind)
		}
	}
	needs("audience", c.Audience, CredentialExchange)
	needs("secret_file", c.SecretFile, CredentialStatic)
	if c.Kind == MCPStdio {
		needs("header", c.Header, CredentialStatic) // the environment variable
		return
	}
	if !validHeader(c.Header) {
		f.add("header", "%q cannot carry a credential", c.Header)
	}
}

// validHeader reports whether a credential may stand in this header: none that the transport or we set ourselves.
func validHeader(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 { // RFC 9110 §5.6.2 token
			return false
		}
	}
	switch name = textproto.CanonicalMIMEHeaderKey(name); name {
	case "", "Host", "Connection", "Content-Length", "Content-Type", "Transfer-Encoding", "Te", "Trailer", "Upgrade",
		"Accept", "Accept-Encoding", "X-Request-Id", "Traceparent", "Last-Event-Id":
		return false
	}
	return !strings.HasPrefix(name, "Mcp-") && !strings.HasPrefix(name, "Hostedmcp-")
}

// CredentialHeader returns the canonical name of the header that carries the credential.
func (c Config) CredentialHeader() string { return http.CanonicalHeaderKey(c.Header) }

// policyFaults checks patterns, scopes and groups.
func (c Config) policyFaults(f *faults) {
	patterns(f, "allow", c.Allow)
	patterns(f, "deny", c.Deny)
	words(f, "", c.Scopes, c.Groups)
	for i, t := range c.Tools {
		path := fmt.Sprintf("tool[%d].", i)
		patterns(f, path+"name", []string{t.Name})
		words(f, path, t.Scopes, t.Groups)
	}
}

// patterns refuses what would match nothing without anybody noticing.
func patterns(f *faults, key string, list []string) {
	for _, p := range list {
		if p == "" {
			f.add(key, `"" fits no name: write a name, or * for any part of one`)
		}
	}
}

// words checks what requests and claims are compared with: a scope that cannot be asked for (RFC 6749 §3.3), or a group
// without a name, would hide a tool from everybody and nobody would know why.
func words(f *faults, path string, scopes, groups []string) {
	for _, s := range scopes {
		if one, err := oauth.ParseScope(s); err != nil || len(one) != 1 {
			f.add(path+"scopes", "%q is not one scope name (RFC 6749 §3.3)", s)
		}
	}
	for _, g := range groups {
		if g == "" {
			f.add(path+"groups", `"" is nobody's group`)
		}
	}
}

// limitFaults checks the limits: each has a floor under which nothing would work, and a ceiling above which it would
// be none.
func (c Config) limitFaults(f *faults) {
	if t := c.Timeout.D(); t < time.Second || t > time.Hour {
		f.add("timeout", "%s is not within 1s and 1h", c.Timeout)
	}
	for _, n := range []struct {
		key              string
		value, low, high int64
	}{
		{"max_bytes", c.MaxBytes, 1 << 10, 64 << 20},
		{"max_depth", int64(c.MaxDepth), 5, 1000},
		{"parallel", int64(c.Parallel), 1, 10_000},
		{"parallel_per_user", int64(c.ParallelPerUser), 1, 10_000},
	} {
		if n.value < n.low || n.value > n.high {
			f.add(n.key, "%d is not within %d and %d", n.value, n.low, n.high)
		}
	}
}
