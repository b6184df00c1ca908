package cimd_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hostedmcp/auth/cimd"
)

// fetchBody lets a fresh Fetcher read one body.
func fetchBody(t *testing.T, n *network, id, body string) (cimd.Document, error) {
	t.Helper()
	n.serveDocument(body)
	return n.fetcher(cimd.Config{}).Fetch(t.Context(), id, nil)
}

// protocol.md §3.3 "Document"; draft-ietf-oauth-client-id-metadata-document §4.1.
func TestDocumentInvalid(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	redirects := func(count int, uri string) string {
		return `"` + strings.TrimSuffix(strings.Repeat(uri+`","`, count), `","`) + `"`
	}
	for _, row := range []struct{ what, body string }{
		{"not JSON", `SENTINEL`},
		{"not an object", `["SENTINEL"]`},
		{"trailing data", document(id, "") + `{}`},
		{"duplicate name", document(id, `,"client_name":"SENTINEL"`)},
		{"duplicate name below", document(id, `,"x":{"SENTINEL":1,"SENTINEL":2}`)},
		{"too deep", document(id, `,"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100))},
		{"not UTF-8", document(id, ",\"x\":\"SENTINEL\xff\"")},
		{"client_id of another", document(strings.Replace(id, "/meta", "/SENTINEL", 1), "")},
		{"client_id with other bytes", document(strings.Replace(id, "client.", "Client.", 1), "")},
		{"client_id with a slash more", document(id+"/", "")},
		{"client_id missing", `{"client_name":"x","redirect_uris":["https://client.example/cb"]}`},
		{"client_id in other letters", fmt.Sprintf(`{"Client_ID":%q,"client_name":"x","redirect_uris":["https://client.example/cb"]}`, id)},
		{"client_id of another type", `{"client_id":["SENTINEL"],"client_name":"x","redirect_uris":["https://client.example/cb"]}`},
		{"client_name missing", fmt.Sprintf(`{"client_id":%q,"redirect_uris":["https://client.example/cb"]}`, id)},
		{"client_name invisible", fmt.Sprintf(`{"client_id":%q,"client_name":" \u200b\u202e","redirect_uris":["https://client.example/cb"]}`, id)},
		{"client_name of another type", fmt.Sprintf(`{"client_id":%q,"client_name":{"SENTINEL":1},"redirect_uris":["https://client.example/cb"]}`, id)},
		{"redirect_uris missing", fmt.Sprintf(`{"client_id":%q,"client_name":"x"}`, id)},
		{"redirect_uris empty", fmt.Sprintf(`{"client_id":%q,"client_name":"x","redirect_uris":[]}`, id)},
		{"redirect_uris of another type", fmt.Sprintf(`{"client_id":%q,"client_name":"x","redirect_uris":"https://SENTINEL.example/"}`, id)},
		{"redirect_uris too many", fmt.Sprintf(`{"client_id":%q,"client_name":"x","redirect_uris":[%s]}`, id, redirects(51, "https://client.example/cb"))},
		{"redirect_uris all unacceptable", fmt.Sprintf(`{"client_id":%q,"client_name":"x","redirect_uris":["http://SENTINEL.example/cb","https://mcp.example.com/cb"]}`, id)},
		{"client_secret", document(id, `,"client_secret":"SENTINEL"`)},
		{"client_secret empty", document(id, `,"client_secret":""`)},
		{"client_secret_expires_at", document(id, `,"client_secret_expires_at":0`)},
		{"client_secret_basic", document(id, `,"token_endpoint_auth_method":"client_secret_basic"`)},
		{"client_secret_post", document(id, `,"token_endpoint_auth_method":"client_secret_post"`)},
		{"client_secret_jwt", document(id, `,"token_endpoint_auth_method":"client_secret_jwt"`)},
		{"method of another type", document(id, `,"token_endpoint_auth_method":["SENTINEL"]`)},
	} {
		_, err := fetchBody(t, n, id, row.body)
		if !errors.Is(err, cimd.ErrInvalid) {
			t.Errorf("%s: %v", row.what, err)
		} else if strings.Contains(err.Error(), "SENTINEL") {
			t.Errorf("%s: the error quotes the document: %v", row.what, err)
		}
	}
	if strings.Contains(n.log.String(), "SENTINEL") {
		t.Errorf("the log quotes the document: %s", n.log.String())
	}
}

func TestDocumentAccepted(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	for _, row := range []struct{ what, more string }{
		{"[C1] private_key_jwt is ignored", `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://client.example/jwks"`},
		{"none", `,"token_endpoint_auth_method":"none"`},
		{"null is absent", `,"client_secret":null,"token_endpoint_auth_method":null,"client_uri":null`},
		{"grant_types do not limit", `,"grant_types":["authorization_code"],"response_types":["code"],"scope":"x"`},
		{"unknown members", `,"logo_uri":5,"x":{"y":[1,2,{}]}`},
		{"client_uri unacceptable is left out", `,"client_uri":"javascript:alert(1)"`},
		{"client_uri loopback is left out", `,"client_uri":"http://localhost/x"`},
		{"client_uri that would not be shown as it is", `,"client_uri":"https://client.example/\u202ex"`},
		{"client_uri of another type is left out", `,"client_uri":[]`},
	} {
		doc, err := fetchBody(t, n, id, document(id, row.more))
		if err != nil || doc.URI != "" || doc.Name != "Test Client" || !slices.Equal(doc.RedirectURIs, []string{"https://client.example/cb"}) {
			t.Errorf("%s: %+v, %v", row.what, doc, err)
		}
	}
}

// [C4]: unacceptable and repeated entries are dropped, the others keep their order.
func TestDocumentRedirects(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	doc, err := fetchBody(t, n, id, fmt.Sprintf(`{"client_id":%q,"client_name":"  A\u202e  very\n%s","redirect_uris":[
		"myapp://cb","cursor://x/cb","https://client.example/cb","http://a.example/cb","http://localhost/cb","cursor://x/cb",""]}`, id, strings.Repeat("x", 200)))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"cursor://x/cb", "https://client.example/cb", "http://localhost/cb"}; !slices.Equal(doc.RedirectURIs, want) {
		t.Errorf("redirect URIs %q", doc.RedirectURIs)
	}
	if !strings.HasPrefix(doc.Name, "A very xxx") || len(doc.Name) != 100 {
		t.Errorf("name %q", doc.Name)
	}
	full := make([]string, 50)
	for i := range full {
		full[i] = fmt.Sprintf(`"https://client.example/%d"`, i)
	}
	doc, err = fetchBody(t, n, id, fmt.Sprintf(`{"client_id":%q,"client_name":"x","redirect_uris":[%s]}`, id, strings.Join(full, ",")))
	if err != nil || len(doc.RedirectURIs) != 50 {
		t.Errorf("50 redirect URIs: %d, %v", len(doc.RedirectURIs), err)
	}
}

// draft §3: what is no client_id URL is not fetched at all.
func TestClientIDRefused(t *testing.T) {
	n := newNetwork(t)
	for _, id := range []string{"", "http://client.example/meta", "https://client.example/", "https://127.0.0.1/meta", n.url("client.example", "/x/../meta"), n.url("u@client.example", "/meta")} {
		if _, err := n.fetcher(cimd.Config{}).Fetch(t.Context(), id, nil); !errors.Is(err, cimd.ErrInvalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if n.conns.Load() != 0 {
		t.Errorf("%d connections", n.conns.Load())
	}
}
