package web_test

import (
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"hostedmcp/auth"
)

// document is a page as a browser reads it.
type document struct {
	t    *testing.T
	root *html.Node
	raw  string
	http.Header
}

// show renders a page outside the pipeline, as the demo listener does, and holds it to what every page promises.
func show(t *testing.T, write func(http.ResponseWriter, *http.Request) error) document {
	t.Helper()
	r := httptest.NewRequest("GET", "/authorize", nil)
	r = r.WithContext(auth.WithRequest(r.Context(), &auth.RequestInfo{ID: "REQUESTID"}))
	w := httptest.NewRecorder()
	if err := write(w, r); err != nil {
		t.Fatal(err)
	}
	if w.Header().Get("Content-Security-Policy") == "" || w.Header().Get("Cache-Control") == "" {
		t.Errorf("headers of a page: %v", w.Header())
	}
	return parse(t, w.Body.String(), w.Header())
}

func parse(t *testing.T, raw string, header http.Header) document {
	t.Helper()
	root, err := html.Parse(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	d := document{t, root, raw, header}
	d.checkSafe()
	d.checkReadable()
	return d
}

func (d document) all(tag string) iter.Seq[*html.Node] {
	return func(yield func(*html.Node) bool) {
		for n := range d.root.Descendants() {
			if n.Type == html.ElementNode && (tag == "" || n.Data == tag) && !yield(n) {
				return
			}
		}
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var out strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			out.WriteString(c.Data + " ")
		}
	}
	return strings.Join(strings.Fields(out.String()), " ")
}

// first is the first element of the tag, an empty one if there is none.
func (d document) first(tag string) *html.Node {
	for n := range d.all(tag) {
		return n
	}
	return &html.Node{}
}

// text is the first element of the tag in words, without regard to what stands between them.
func (d document) text(tag string) string { return text(d.first(tag)) }

// says reports whether the page shows s, in one or several elements.
func (d document) says(s string) bool {
	glue := strings.NewReplacer(" ", "", "\n", "")
	return strings.Contains(glue.Replace(d.text("body")), glue.Replace(s))
}

func (d document) expect(sentences ...string) {
	d.t.Helper()
	for _, s := range sentences {
		if !d.says(s) {
			d.t.Errorf("page does not say %q", s)
		}
	}
}

func (d document) refuse(sentences ...string) {
	d.t.Helper()
	for _, s := range sentences {
		if d.says(s) {
			d.t.Errorf("page says %q", s)
		}
	}
}

// value is that of the form field of the given name.
func (d document) value(name string) string {
	for n := range d.all("input") {
		if attr(n, "name") == name {
			return attr(n, "value")
		}
	}
	return ""
}

// checkSafe: no script in any of its forms, nothing from elsewhere, forms of our own only.
func (d document) checkSafe() {
	d.t.Helper()
	for n := range d.all("") {
		if slices.Contains([]string{"script", "style", "iframe", "object", "embed", "base", "template"}, n.Data) {
			d.t.Errorf("<%s> on a page", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "autofocus" || strings.HasPrefix(a.Val, "javascript:") {
				d.t.Errorf("attribute %s=%q", a.Key, a.Val)
			}
			if a.Key == "src" || n.Data == "link" && a.Key == "href" {
				if !strings.HasPrefix(a.Val, "/static/") || !strings.Contains(a.Val, "?v=") {
					d.t.Errorf("asset %q", a.Val)
				}
			}
			if a.Key == "action" && !strings.HasPrefix(a.Val, "/") {
				d.t.Errorf("form goes to %q", a.Val)
			}
		}
	}
	for _, leftover := range []string{"ZgotmplZ", "<no value>", "<!--", "{{", "{P}", "%!"} {
		if strings.Contains(d.raw, leftover) {
			d.t.Errorf("page holds %q", leftover)
		}
	}
}

// checkReadable: what a screen reader needs (WCAG 2.2: 1.3.1, 2.4.2, 3.1.1, 4.1.2).
func (d document) checkReadable() {
	d.t.Helper()
	ids, labels, headings := map[string]int{}, map[string]bool{}, []string{}
	for n := range d.all("") {
		if id := attr(n, "id"); id != "" {
			ids[id]++
		}
		if n.Data == "label" {
			labels[attr(n, "for")] = true
		}
		if len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' {
			headings = append(headings, n.Data)
		}
	}
	for id, n := range ids {
		if n > 1 {
			d.t.Errorf("id %q stands %d times", id, n)
		}
	}
	if len(headings) == 0 || headings[0] != "h1" || slices.Contains(headings[1:], "h1") || slices.Contains(headings, "h3") {
		d.t.Errorf("headings %v", headings)
	}
	for n := range d.all("") {
		d.checkNamed(n, ids, labels)
	}
	if !strings.Contains(d.text("title"), " – ") || !strings.HasPrefix(d.raw, "<!DOCTYPE html>\n<html lang=\"en\">") {
		d.t.Errorf("title %q, beginning %.40q", d.text("title"), d.raw)
	}
}

func (d document) checkNamed(n *html.Node, ids map[string]int, labels map[string]bool) {
	d.t.Helper()
	for _, ref := range []string{"aria-labelledby", "aria-describedby"} {
		if id := attr(n, ref); id != "" && ids[id] != 1 {
			d.t.Errorf("%s=%q leads nowhere", ref, id)
		}
	}
	switch {
	case n.Data == "input" && attr(n, "type") != "hidden" && !labels[attr(n, "id")]:
		d.t.Errorf("input %q without label", attr(n, "name"))
	case (n.Data == "button" || n.Data == "a" || n.Data == "summary") && text(n) == "":
		d.t.Errorf("<%s> without words", n.Data)
	case n.Data == "img" && !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "alt" }):
		d.t.Error("img without alt")
	}
}
