package cimd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"hostedmcp/auth/oauth"
)

// Check fetches the documents of the clients that cannot do without, each from its vendor, whatever is remembered of
// them, and says what came: one finding a document. Nothing it fetches is kept. It takes at most Config.Timeout.
func (f *Fetcher) Check(ctx context.Context) []oauth.Finding {
	copies := BuiltIn()
	findings := make([]oauth.Finding, len(copies))
	var asked sync.WaitGroup
	for i, d := range copies {
		asked.Go(func() { findings[i] = f.checkDocument(ctx, d) })
	}
	asked.Wait()
	return findings
}

func (f *Fetcher) checkDocument(ctx context.Context, ours Document) oauth.Finding {
	name := "metadata document of " + ours.Name
	theirs, err := f.ask(ctx, ours.ClientID, nil)
	switch {
	case errors.Is(err, ErrInvalid):
		return oauth.Warn(name, fmt.Sprintf("%s was fetched and is refused: %v", ours.ClientID, err), f.waysOut(ours))
	case err != nil:
		return oauth.Warn(name, fmt.Sprintf("%s cannot be fetched from here: %v", ours.ClientID, err), f.waysOut(ours))
	}
	if missing := notIn(ours.RedirectURIs, theirs.RedirectURIs); missing != "" {
		return oauth.Warn(name, fmt.Sprintf("fetched; it no longer names %s, as the copy of %s in this program does", missing, ours.CopyDate),
			"update hostedmcp: the copy is the last resort when the vendor's host does not answer")
	}
	return oauth.Good(name, "fetched")
}

// notIn returns one of wanted that no entry of listed matches, "" if each is matched.
func notIn(wanted, listed []string) string {
	for _, w := range wanted {
		if !slices.ContainsFunc(listed, func(l string) bool { return oauth.MatchRedirect(l, w) }) {
			return w
		}
	}
	return ""
}

// waysOut are those of protocol.md §3.3, for a document that these clients insist on and their host does not give out.
// The copy in the program serves meanwhile, and that is why none of it is a FAIL.
func (f *Fetcher) waysOut(d Document) string {
	host := d.ClientID
	if u, err := url.Parse(d.ClientID); err == nil {
		host = u.Host
	}
	reach := "let this machine reach " + host + ":443, or name a proxy in clients.cimd_proxy"
	if f.cfg.Proxy != "" {
		reach = "let the proxy of clients.cimd_proxy reach " + host + ":443"
	}
	return fmt.Sprintf(`%s; or pin the client: [[clients.registered]] with id = %q and redirect_uris = ["%s"]; `+
		"or clients.cimd = false, and these clients register. Meanwhile the copy of %s in this program serves, for loopback only",
		reach, d.ClientID, strings.Join(d.RedirectURIs, `", "`), d.CopyDate)
}
