package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strconv"

	"hostedmcp/auth"
)

// One stylesheet and one mark, embedded: the binary needs no folder beside it, and no page fetches from elsewhere.

//go:embed static
var staticFiles embed.FS

// asset is one file below /static/. Its address carries a hash of its content, or an upgrade would meet the copy that
// a browser keeps for an hour.
type asset struct {
	path, mediaType, hash string
	data                  []byte
}

var assets = []asset{
	loadAsset("static/style.css", "text/css; charset=utf-8"),
	loadAsset("static/mark.svg", "image/svg+xml"),
}

// loadAsset reads an embedded file and hashes it, once for the life of the process.
func loadAsset(name, mediaType string) asset {
	data, err := staticFiles.ReadFile(name)
	if err != nil {
		panic(err) // embedded: cannot be missing in a binary that was built
	}
	sum := sha256.Sum256(data)
	return asset{path: "/" + name, mediaType: mediaType, hash: hex.EncodeToString(sum[:6]), data: data}
}

// link is the address that pages write.
func (a asset) link() string { return a.path + "?v=" + a.hash }

// assetLink is the address of a file by its bare name.
func assetLink(name string) string {
	for _, a := range assets {
		if path.Base(a.path) == name {
			return a.link()
		}
	}
	return ""
}

func (a asset) serve(w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", a.mediaType)
	h.Set("Content-Length", strconv.Itoa(len(a.data)))
	h.Set("Content-Security-Policy", contentPolicy) // an SVG opened on its own is a document
	_, _ = w.Write(a.data)                          // the browser went away: nobody to tell
	return nil
}

// staticRows makes a row for each file: there is no folder to look around in.
func staticRows() []row {
	var rows []row
	for _, a := range assets {
		rows = append(rows, row{pattern: "/static/*", Endpoint: auth.Endpoint{
			Path: a.path, Methods: []string{http.MethodGet}, Cache: auth.Static, Handle: a.serve,
		}})
	}
	return rows
}

// Static serves the stylesheet and the mark below /static/ on a listener that has no pipeline of ours: the demo
// provider's, whose sign-in page is one of [Pages].
func Static() http.Handler {
	byPath := map[string]asset{}
	for _, a := range assets {
		byPath[a.path] = a
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := byPath[r.URL.Path]
		if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", cacheControl(auth.Static))
		_ = a.serve(w, r)
	})
}
