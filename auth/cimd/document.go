package cimd

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// Document is a client as its metadata document describes it. The client is public whatever the document asks for.
type Document struct {
	ClientID     string   // the document's URL
	Name         string   // fit to be shown; never empty
	URI          string   // https, to be shown as text; "" if absent or unacceptable
	RedirectURIs []string // 1..50, distinct, acceptable, in the document's order

	ETag       string    // "" if the host gives none; sent back only by the process that got it
	Fetched    time.Time // when the host last said so; zero for a built-in copy, which is never worth storing
	FreshUntil time.Time // until then the host is not asked again

	BuiltIn  bool   // our own copy, since the document could not be had
	CopyDate string // of a built-in copy: "2026-11-23"
}

// Bounds of a document beside its size.
const (
	maxDepth     = 100
	maxName      = 100
	maxRedirects = 50
)

// parseDocument judges a body by the rules of protocol.md §3.3. Every error is ErrInvalid and names a member at most.
func parseDocument(clientID string, body []byte, rules oauth.RedirectRules) (Document, error) {
	doc, err := readDocument(clientID, body, rules)
	if err != nil {
		return Document{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return doc, nil
}

func readDocument(clientID string, body []byte, rules oauth.RedirectRules) (Document, error) {
	o, err := oauth.ParseObject(body, maxDepth)
	if err != nil {
		return Document{}, err
	}
	// Byte-equal (draft §4.1), or a document found anywhere could speak for another client.
	id, err := o.Text("client_id")
	if err != nil || id != clientID {
		return Document{}, errors.New("client_id is not the URL of the document")
	}
	if err := refuseSecrets(o); err != nil {
		return Document{}, err
	}
	doc := Document{ClientID: clientID}
	if doc.Name, err = o.Text("client_name"); err != nil {
		return Document{}, err
	}
	if doc.Name = oauth.DisplayText(doc.Name, maxName); doc.Name == "" {
		return Document{}, errors.New("client_name is missing")
	}
	doc.URI = shownURI(o)
	doc.RedirectURIs, err = redirectURIs(o, rules)
	return doc, err
}

// refuseSecrets: everybody can read the document, so that no secret in it is one (draft §4.1).
func refuseSecrets(o oauth.Object) error {
	for _, name := range []string{"client_secret", "client_secret_expires_at"} {
		if raw, ok := o[name]; ok && !bytes.Equal(raw, []byte("null")) {
			return fmt.Errorf("%s must not be there", name)
		}
	}
	method, err := o.Text("token_endpoint_auth_method")
	if err != nil {
		return err
	}
	if strings.HasPrefix(method, "client_secret_") {
		return errors.New("token_endpoint_auth_method needs a shared secret")
	}
	return nil
}

// redirectURIs keeps the acceptable ones: a document serves many servers, and one scheme that we do not take must not
// keep the client out.
func redirectURIs(o oauth.Object, rules oauth.RedirectRules) ([]string, error) {
	listed, err := o.List("redirect_uris")
	if err != nil {
		return nil, err
	}
	if len(listed) > maxRedirects {
		return nil, fmt.Errorf("redirect_uris has more than %d entries", maxRedirects)
	}
	kept := acceptable(listed, rules)
	if len(kept) == 0 {
		return nil, errors.New("redirect_uris has no acceptable entry")
	}
	return kept, nil
}

func acceptable(uris []string, rules oauth.RedirectRules) []string {
	var kept []string
	for _, u := range uris {
		if rules.Check(u) == nil && !slices.Contains(kept, u) {
			kept = append(kept, u)
		}
	}
	return kept
}

// shownURI returns client_uri if it is a plain https URL. It is decoration: a bad one is left out.
func shownURI(o oauth.Object) string {
	uri, err := o.Text("client_uri")
	if err != nil || (oauth.RedirectRules{}).Check(uri) != nil || oauth.RedirectKind(uri) != oauth.KindHTTPS {
		return ""
	}
	return uri
}

// clone keeps callers from writing into the cache.
func (d Document) clone() Document {
	d.RedirectURIs = slices.Clone(d.RedirectURIs)
	return d
}
