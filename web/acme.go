package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"hostedmcp/auth/oauth"
)

// Certificates from an authority (ACME, RFC 8555), proved by TLS-ALPN-01 (RFC 8737) on the listener itself: no further
// port. The first handshake asks for the certificate and waits for it; nothing is asked at the start, so that a service
// whose certificate is stored starts without a network. Renewal begins 30 days before the end, by itself.

// TLSOptions is what the public listener's TLS needs besides the section [tls].
type TLSOptions struct {
	PublicURL string                                // the issuer: the certificate is for its host and no other name
	Folder    string                                // of the ACME account and certificates; made at the first one
	Proxy     func(*http.Request) (*url.URL, error) // towards the ACME directory; nil = none
	Now       func() time.Time                      // nil = time.Now
	Log       *slog.Logger                          // nil = nothing is logged
}

// Server returns how the listener speaks TLS (1.2 and later, RFC 9325 §3.1.1, Go's own choice of suites); nil without an
// error = it does not. The error names the key or the file at fault, and the step that helps.
func (c TLSConfig) Server(o TLSOptions) (*tls.Config, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case !c.Enabled():
		return nil, nil
	case !c.ACME:
		certs, err := NewCertificates(c, o.Now, o.Log)
		if err != nil {
			return nil, err
		}
		return certs.Config(), nil
	}
	if info, err := os.Stat(o.Folder); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("tls.acme: others can look into %s (mode %04o), where the private key lies; run: chmod 700 %[1]s", o.Folder, info.Mode()&fs.ModePerm)
	}
	return newAuthority(c, o).config(), nil
}

// authority is our side of an ACME server. Safe for concurrent use.
type authority struct {
	host      string
	directory string
	folder    string
	manager   *autocert.Manager
	log       *slog.Logger
	now       func() time.Time

	mu    sync.Mutex
	said  map[string]time.Time // by text: when the log had it
	heard string               // what the authority complained of last; "" = nothing yet
}

// Times of the authority's side.
const (
	acmeTimeout  = 30 * time.Second    // of one request
	renewalLate  = 20 * 24 * time.Hour // left of a certificate that should have been renewed with 30 days left
	acmeSayEvery = time.Minute         // a line in the log, however many handshakes fail
	lateSayEvery = 12 * time.Hour      // the same for a renewal
	maxComplaint = 64 << 10            // bytes of an answer that are looked at for a complaint
)

// errOtherName refuses whoever asks for another host, or for none. Scanners do all day.
var errOtherName = errors.New("no certificate for this name")

// newAuthority prepares it; nothing is asked and nothing is written yet. It never answers http-01: that needs a port more.
func newAuthority(c TLSConfig, o TLSOptions) *authority {
	host, _ := c.host(o.PublicURL)
	a := &authority{
		host: host, directory: c.ACMEDirectory, folder: o.Folder, log: o.Log, now: o.Now, said: map[string]time.Time{},
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = o.Proxy
	a.manager = &autocert.Manager{
		Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(a.host), Email: c.ACMEEmail,
		Cache: keptCertificates{autocert.DirCache(o.Folder), a},
		Client: &acme.Client{DirectoryURL: c.ACMEDirectory, UserAgent: "hostedmcp",
			HTTPClient: &http.Client{Timeout: acmeTimeout, Transport: listening{transport, a}}},
	}
	return a
}

// config offers the authority's protocol beside those of clients (RFC 8737 §3).
func (a *authority) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: a.certificate,
		NextProtos: []string{"h2", "http/1.1", acme.ALPNProto},
	}
}

// certificate answers a handshake. The name is judged here already: what is asked for another host reaches neither the
// authority nor the disk.
func (a *authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !strings.EqualFold(strings.TrimSuffix(hello.ServerName, "."), a.host) {
		return nil, errOtherName
	}
	cert, err := a.manager.GetCertificate(hello)
	switch {
	case len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto:
		// the authority's own look (RFC 8737 §3), or a scanner's: what comes of it, the authority says
	case err != nil:
		a.say(acmeSayEvery, "no certificate", "cause", err, "heard", a.complaint(), "fix", a.fix(err))
	case cert.Leaf != nil && cert.Leaf.NotAfter.Sub(a.now()) < renewalLate:
		a.say(lateSayEvery, "certificate not renewed", "not_after", cert.Leaf.NotAfter, "heard", a.complaint(), "fix", a.fix(nil))
	}
	return cert, err
}

// say writes a line at level error, once in a while.
func (a *authority) say(every time.Duration, text string, attrs ...any) {
	a.mu.Lock()
	last, said := a.said[text]
	now := a.now()
	quiet := said && now.Sub(last) < every && !now.Before(last)
	if !quiet {
		a.said[text] = now
	}
	a.mu.Unlock()
	if !quiet {
		a.log.Error("acme: "+text, attrs...)
	}
}

// fix is the step that helps most often.
func (a *authority) fix(err error) string {
	var refused *acme.Error
	var network *url.Error
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return "let the service read and write " + a.folder + ", and make room"
	case errors.As(err, &refused) && strings.HasSuffix(refused.ProblemType, ":rateLimited"):
		return "wait as long as the authority says, and keep " + a.folder + " over restarts: each certificate counts"
	case errors.As(err, &refused) && strings.HasSuffix(refused.ProblemType, "ontact"): // invalidContact, unsupportedContact
		return "set tls.acme_email to an address that the authority takes, or remove it"
	case errors.As(err, &network):
		return "let this machine reach " + a.directory + " (tls.acme_directory; a proxy: HTTPS_PROXY)"
	}
	return "let port 443 of " + a.host + " lead to this listener, from the whole internet: DNS, firewall, CAA record; the next connection tries again"
}

// complaint is the last one.
func (a *authority) complaint() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heard
}

// hear keeps a complaint: autocert passes on neither why a proof failed nor why a renewal did.
func (a *authority) hear(complaint string) {
	if complaint == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = oauth.DisplayText(complaint, 500)
}

// listening passes requests on to the authority and listens for complaints in the answers.
type listening struct {
	http.RoundTripper
	to *authority
}

// RoundTrip implements http.RoundTripper.
func (l listening) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		l.to.hear(err.Error())
		return nil, err
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, maxComplaint))
	if err != nil {
		res.Body.Close()
		return nil, err
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), res.Body), res.Body}
	l.to.hear(complaintIn(head))
	return res, nil
}

// complaintIn finds the words of an error in a problem document, an order or an authorization (RFC 8555 §6.7, §7.1.3,
// §7.1.4); "" = there are none.
func complaintIn(body []byte) string {
	type problem struct {
		Type   string `json:"type"`
		Detail string `json:"detail"`
	}
	var doc struct {
		problem
		Error      problem `json:"error"`
		Challenges []struct {
			Error problem `json:"error"`
		} `json:"challenges"`
	}
	// a nonce that has grown old is asked for anew, and nobody's fault (§6.5)
	if json.Unmarshal(body, &doc) != nil || strings.HasSuffix(doc.Type, ":badNonce") {
		return ""
	}
	for _, c := range doc.Challenges {
		if c.Error.Detail != "" {
			return c.Error.Detail
		}
	}
	return cmp.Or(doc.Detail, doc.Error.Detail)
}

// keptCertificates is the folder, which says when it cannot be written: autocert does not, and would ask for a
// certificate at every start until the authority has had enough.
type keptCertificates struct {
	autocert.DirCache
	of *authority
}

// Put implements autocert.Cache.
func (k keptCertificates) Put(ctx context.Context, name string, data []byte) error {
	err := k.DirCache.Put(ctx, name, data)
	if err != nil {
		k.of.say(acmeSayEvery, "not stored", "cause", err, "fix", "let the service write into "+k.of.folder+", and make room")
	}
	return err
}
