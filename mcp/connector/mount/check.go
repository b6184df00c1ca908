package mount

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// Check is the connector's part of `hostedmcp check`.
func (s *source) Check(ctx context.Context) []oauth.Finding {
	name := "connector " + s.cfg.Name
	var out []oauth.Finding
	if host, clear := s.inClear(); clear {
		out = append(out, oauth.Warn(name, "speaks http to "+host+": whoever is on the way reads and changes it", "use an https URL"))
	}
	catalog, err := s.catalog(ctx, nil)
	var status refusal
	refused := errors.As(err, &status) && (status.code == http.StatusUnauthorized || status.code == http.StatusForbidden)
	switch {
	case refused && s.cfg.Credential == connector.CredentialStatic:
		return append(out, oauth.Bad(name, "refuses the credential", "renew the content of "+s.cfg.SecretFile))
	case refused && s.cfg.Credential == connector.CredentialNone:
		return append(out, oauth.Bad(name, "wants a credential", "set `credential` to user, exchange or static"))
	case refused:
		return append(out, oauth.Good(name, "reachable; asks for the user's own credential, so its tools are seen at the first sign-in"))
	case err != nil:
		return append(out, oauth.Bad(name, words(err), s.remedy()))
	}
	era := connector.LegacyVersion + " or older"
	if s.era.isModern() {
		era = connector.ModernVersion
	}
	out = append(out, oauth.Good(name, fmt.Sprintf("reachable, protocol %s: %d tools, %d prompts, %d resources",
		era, len(catalog.Tools), len(catalog.Prompts), len(catalog.Resources)+len(catalog.ResourceTemplates))))
	if s.cfg.Credential == connector.CredentialStatic {
		out = append(out, oauth.Good(name, "accepts the credential"))
	}
	return out
}

// remedy is the step to take when nothing answers.
func (s *source) remedy() string {
	if s.http == nil {
		return fmt.Sprintf("run it by hand: env -i %q", s.cfg.Command[0])
	}
	return "start the server, or correct `url`"
}

// inClear reports whether what is said leaves this machine unencrypted.
func (s *source) inClear() (host string, clear bool) {
	u, err := url.Parse(s.cfg.URL)
	if err != nil || !connector.InClear(u) {
		return "", false
	}
	return u.Host, true
}
