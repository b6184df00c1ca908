package auth

import (
	"context"
	"log/slog"

	"hostedmcp/auth/cimd"
	"hostedmcp/auth/oauth"
)

// CheckDocuments says whether the vendors' metadata documents can be had from here (protocol.md §3.3). It is a part of
// `hostedmcp check`, and needs no server. Without metadata documents there is nothing to say.
func CheckDocuments(ctx context.Context, issuer string, clients ClientsConfig, limits LimitsConfig) []oauth.Finding {
	if !clients.CIMD {
		return nil
	}
	rules := oauth.RedirectRules{Issuer: issuer, PrivateSchemes: clients.PrivateSchemes}
	return cimd.New(clients.cimd(limits), rules, nil, cimd.Dialer{}, slog.New(slog.DiscardHandler)).Check(ctx)
}
