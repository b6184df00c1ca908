package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"hostedmcp/auth/oauth"
)

// What check finds where certificates come from an authority (ACME, RFC 8555). The certificate itself is looked at
// through the public URL.

// acme looks at the folder, at the way to the authority, and at its way to us.
func (k *checker) acme(ctx context.Context) []oauth.Finding {
	if k.m.ACME == nil {
		return nil
	}
	return append(k.acmeFolder(), k.acmePort(), k.acmeDirectory(ctx))
}

// acmeFolder looks at modes: the private key lies there, and that of the account.
func (k *checker) acmeFolder() []oauth.Finding {
	const name = "acme folder"
	folder := k.m.ACME.Folder
	if !exists(folder) {
		return []oauth.Finding{oauth.Good(name, "there is none yet: the first connection makes "+folder)}
	}
	found := []oauth.Finding{mode(name, folder, 0o077, "chmod 700 ")}
	files, err := os.ReadDir(folder)
	if err != nil {
		return append(found, oauth.Warn("acme files", err.Error(), "run check as root, or as the user who runs hostedmcp"))
	}
	for _, f := range files {
		path := filepath.Join(folder, f.Name())
		if modeOf(path)&0o077 != 0 {
			return append(found, mode("acme files", path, 0o077, "chmod 600 "))
		}
	}
	return found
}

// acmePort: the authority looks for its proof at port 443 of the name (RFC 8737 §3), whatever public_url says.
func (k *checker) acmePort() oauth.Finding {
	const name = "acme port"
	_, port, _ := net.SplitHostPort(k.m.Listen)
	if port == "443" && !isLoopback(k.m.Listen) {
		return oauth.Good(name, k.m.Listen)
	}
	host := k.m.PublicURL
	if u, err := url.Parse(host); err == nil {
		host = u.Hostname()
	}
	return oauth.Warn(name, fmt.Sprintf("the authority connects to port 443 of %s, and the service listens on %s", host, k.m.Listen),
		"listen on port 443, or see that it is forwarded there with its TLS as it comes")
}

// acmeDirectory asks for the one document that all else begins with (RFC 8555 §7.1.1).
func (k *checker) acmeDirectory(ctx context.Context) oauth.Finding {
	const name = "acme directory"
	p, err := k.fetch(ctx, k.m.ACME.Directory)
	if err != nil {
		what, _ := whyUnreachable(err)
		return oauth.Bad(name, k.m.ACME.Directory+" "+what, "let this machine reach it (firewall, HTTPS_PROXY), or set tls.acme_directory to an authority that it reaches")
	}
	var doc struct {
		Order string `json:"newOrder"`
	}
	if p.status != http.StatusOK || json.Unmarshal(p.body, &doc) != nil || doc.Order == "" {
		return oauth.Bad(name, fmt.Sprintf("%s answers %d, and not with an ACME directory", k.m.ACME.Directory, p.status), "correct tls.acme_directory")
	}
	return oauth.Good(name, k.m.ACME.Directory+" answers")
}
