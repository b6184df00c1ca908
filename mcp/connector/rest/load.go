package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"hostedmcp/mcp/connector"
)

// maxDocument is the size in bytes of the largest document that is read; the largest published ones have 12 MB.
const maxDocument = 32 << 20

// remote reports whether the document comes from a URL: it is then fetched by Run, since a start asks no network.
func remote(place string) bool {
	return strings.HasPrefix(place, "https://") || strings.HasPrefix(place, "http://")
}

// load reads the document and makes the tools. Nothing of what it found before is lost if it fails.
func (s *Source) load(ctx context.Context) error {
	var data []byte
	var err error
	if remote(s.config.Document) {
		data, err = s.fetch(ctx)
	} else {
		data, err = readFile(s.config.Document)
	}
	if err != nil {
		return err
	}
	// What changed is a matter of the operator, not of whoever serves the document. Nothing of it is read before that: a few
	// megabytes, made for it, take gigabytes to read.
	sum := sha256.Sum256(data)
	if is, pin := hex.EncodeToString(sum[:]), s.config.DocumentSHA256; pin != "" && !strings.EqualFold(pin, is) {
		return fmt.Errorf("document_sha256: the document is another one now (%s): look at what changed, then write its new hash", is)
	}
	d, err := readDocument(data)
	if err != nil {
		return fmt.Errorf("document: %w", err)
	}
	return s.build(d)
}

// build makes the tools of a document. They replace those of before in one step, so that a call under way keeps the ones
// that it began with.
func (s *Source) build(d *document) error {
	base, err := s.base(d)
	if err != nil {
		return err
	}
	// with credential none the API may want a key of the user's own, which is then an argument as any
	if s.config.Credential != connector.CredentialNone {
		d.ours = headerName(s.config.Header)
	}
	tools, left, err := d.operations(len(*s.config.Prefix))
	if err != nil {
		return fmt.Errorf("document: %w", err)
	}
	// a connector without tools would look as if it worked
	if len(tools) == 0 {
		return errors.New("document: none of its operations can become a tool" + first(left))
	}
	c := &catalog{base: base, tools: tools, left: left, byName: make(map[string]*operation, len(tools))}
	for _, o := range tools {
		c.byName[o.name] = o
		c.offered.Tools = append(c.offered.Tools, o.definition)
	}
	c.offered.Instructions = instructions(d)
	s.catalog.Store(c)
	for _, l := range left {
		s.log.Warn("operation left out", "connector", s.config.Name, "place", l)
	}
	return nil
}

// first is the first of what was left out, for a message.
func first(left []string) string {
	if len(left) == 0 {
		return ""
	}
	return ": " + left[0]
}

// instructions are the document's own words about itself, cut to what a model should read.
func instructions(d *document) string {
	info := d.root.get("info")
	s := strings.TrimSpace(info.get("title").str() + "\n\n" + info.get("description").str())
	const most = 2000
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

// base is where requests go. Credentials leave in clear for this machine only.
func (s *Source) base(d *document) (*url.URL, error) {
	if s.config.URL != "" {
		return url.Parse(s.config.URL)
	}
	// relative servers of a file lead nowhere: the file may have come from anywhere
	from := ""
	if remote(s.config.Document) {
		from = s.config.Document
	}
	u, err := d.server(from)
	if err != nil {
		return nil, err
	}
	if connector.InClear(u) {
		return nil, fmt.Errorf("servers[0].url: %q would carry what users ask in clear: set url to its https address", u.Host)
	}
	// what a document may not bring along: a query that would be everybody's, a user with a password
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return u, nil
}

// readFile reads a document on this machine, which may be as large as one from elsewhere and no larger.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	defer f.Close()
	return readAll(f)
}

// readAll reads at most maxDocument bytes; more is an error, never a document that is cut off.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1)) // one more, to tell the largest from too large
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("larger than %d bytes", maxDocument)
	}
	if err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	return data, nil
}

// fetch gets the document. No credential goes with the request.
func (s *Source) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout.D())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.config.Document, nil)
	if err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	resp, err := s.http.Do(r)
	if err != nil {
		return nil, unreachable{fmt.Errorf("document: %w", withoutURL(err))}
	}
	defer resp.Body.Close()
	// also a redirect: where a document moved to is for the operator to write down
	if resp.StatusCode != http.StatusOK {
		return nil, unreachable{fmt.Errorf("document: HTTP %d", resp.StatusCode)}
	}
	return readAll(resp.Body)
}

// unreachable marks a fault of the way and not of what came over it.
type unreachable struct{ error }
