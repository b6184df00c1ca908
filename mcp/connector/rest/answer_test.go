package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/rest"
)

// listing is an operation whose answers are described: a list of accounts, in pages.
const listing = `{"/x":{"get":{"operationId":"x","parameters":[{"name":"page","in":"query","schema":{"type":"integer"}},{"name":"per_page","in":"query","schema":{"type":"integer"}},{"name":"sort","in":"query","schema":{"type":"string"}}],
	"responses":{"200":{"content":{"application/json":{"schema":{"type":"object","required":["id"],"properties":{"id":{"type":"integer"}}}}}}}}}}`

// plain is an operation whose answers are not described.
const plain = `{"/x":{"get":{"operationId":"x","responses":{}}}}`

// What the API answers, as the tool's result (MCP "Tool execution errors": refusals are results).
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, paths, mediaType string
		status                 int
		body, want             string
	}{
		{"an object", listing, "application/json; charset=utf-8", 200, `{ "z": 1e2, "id": 9007199254740993, "n": "<é>" }`,
			`{"content":[{"type":"text","text":"{ \"z\": 1e2, \"id\": 9007199254740993, \"n\": \"<é>\" }"}],"structuredContent":{"z":1e2,"id":9007199254740993,"n":"<é>"}}`},
		{"a list", plain, "application/json", 200, `[1,2]`, `{"content":[{"type":"text","text":"[1,2]"}],"structuredContent":{"result":[1,2]}}`},
		{"a problem", listing, "application/problem+json", 404, `{"title":"no such account"}`,
			`{"content":[{"type":"text","text":"HTTP 404 Not Found\n{\"title\":\"no such account\"}"}],"isError":true}`},
		{"a wrong credential", listing, "text/plain", 401, "who?", `{"content":[{"type":"text","text":"HTTP 401 Unauthorized\nwho?"}],"isError":true}`},
		{"its own trouble", listing, "text/html", 503, "", `{"content":[{"type":"text","text":"HTTP 503 Service Unavailable"}],"isError":true}`},
		{"a redirect", listing, "text/html", 302, "", `{"content":[{"type":"text","text":"HTTP 302 Found\nThe API points elsewhere, and is not followed there."}],"isError":true}`},
		{"nothing", plain, "", 204, "", `{"content":[{"type":"text","text":"HTTP 204 No Content"}]}`},
		{"nothing where something was promised", listing, "", 204, "", `{"content":[{"type":"text","text":"HTTP 204 No Content, without the answer that the API's document promises"}],"isError":true}`},
		{"text", plain, "text/csv", 200, "a,b\n1,é", `{"content":[{"type":"text","text":"a,b\n1,é"}]}`},
		{"text where JSON was promised", listing, "text/html", 200, "<h1>", `{"content":[{"type":"text","text":"The API answered text/html where its document promises JSON."}],"isError":true}`},
		{"an image", plain, "image/png", 200, "\x89PNG", `{"content":[{"type":"image","data":"iVBORw==","mimeType":"image/png"}]}`},
		{"bytes", plain, "application/pdf", 200, "%PDF\xff", `{"content":[{"type":"resource","resource":{"uri":"data:application/pdf","mimeType":"application/pdf","blob":"JVBERv8="}}]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := mount(t, doc("3.1.0", tt.paths, ""))
			a.answer = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", tt.mediaType)
				if tt.status == 302 {
					w.Header().Set("Location", "https://evil.example/")
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}
			if got := a.must("x", `{}`); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if !a.source.State().Up {
				t.Error("an API that answers is up")
			}
		})
	}
}

// An answer that clients would refuse by the schema they were shown is read as text, with the place that does not fit.
func TestBrokenPromise(t *testing.T) {
	a := mount(t, doc("3.1.0", listing, ""))
	for _, body := range []string{`{"id":"seven"}`, `{}`, `[]`, `{"id":null}`} {
		a.answer = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
		}
		got := a.must("x", `{}`)
		if !strings.Contains(got, `"isError":true`) || !strings.Contains(got, "does not fit its own document") || strings.Contains(got, "structuredContent") {
			t.Errorf("%s: %s", body, got)
		}
	}
}

// What is too much tells the model how to ask for less, and where the next page is.
func TestPages(t *testing.T) {
	a := mount(t, doc("3.1.0", listing, ""), func(o *rest.Options) { o.Config.MaxBytes = 2000 })
	a.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Link", `<https://evil.example/x?page=1>; rel="prev", <https://evil.example/x?page=3&per_page=50&token=t&sort=a>; rel="next"`)
		fmt.Fprint(w, `{"id":1}`)
	}
	if got := a.must("x", `{"page":2}`); !strings.Contains(got, `call again with the same arguments and {\"page\":3,\"per_page\":50}.`) || strings.Contains(got, "evil") {
		t.Error(got)
	}
	ended := make(chan struct{})
	a.answer = func(w http.ResponseWriter, r *http.Request) { // without end
		defer close(ended)
		for r.Context().Err() == nil {
			if _, err := fmt.Fprint(w, strings.Repeat("x", 1000)); err != nil {
				return
			}
		}
	}
	if got := a.must("x", `{}`); !strings.Contains(got, "larger than 2000 bytes") || !strings.Contains(got, "page, per_page") || !strings.Contains(got, `"isError":true`) {
		t.Error(got)
	}
	<-ended // nobody reads on
}

// What an API repeats of its credential reaches nobody; an answer may begin with a byte order mark.
func TestEcho(t *testing.T) {
	for _, status := range []int{200, 401} {
		a := mount(t, doc("3.1.0", plain, ""), func(o *rest.Options) {
			o.Config.Credential, o.Secret = connector.CredentialStatic, "Bearer s3cret-of-all"
		})
		a.answer = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, "\ufeff{%q:%q}", "token", r.Header.Get("Authorization"))
		}
		if got := a.must("x", `{}`); strings.Contains(got, "s3cret") || !strings.Contains(got, "Bearer [hidden]") {
			t.Errorf("%d: %s", status, got)
		}
	}
}

// Two members of one name are found wherever they are and however they are written, and nothing else is taken for them.
func TestDistinctNames(t *testing.T) {
	a := mount(t, doc("3.1.0", plain, ""))
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf(`"n%d": %d`, i, i))
	}
	most := strings.Join(many, ", ")
	for body, good := range map[string]bool{
		`{}`: true, `[]`: true, `""`: true, `-1.5e3`: true, `[ 1 , "a" , [ ] , { } , null ]`: true,
		`{"a":{"a":[{"a":1},{"a":2}]},"b":"a"}`: true, `{"a\\":1,"a":"\"},{\"a\":"}`: true, `{"\\":1,"\\\\":2}`: true, `{"A":1,"a":2,"":3," ":4}`: true,
		"{" + most + "}": true, "{" + most + `, "n0":1}`: false, "{" + most + `, "n29":1}`: false, `[{"x":` + "{" + most + `, "n8":[]}}]`: false,
		`{"a":1,"\u0061":2}`: false, `{"a\/b":1,"a/b":2}`: false, `{"":1,"":2}`: false, `[1,[{"b":{"c":0, "c" :0}}]]`: false, `{"a":"\\","a":1}`: false,
		`{"é":1,"\u00e9":2}`: false, `{"a":[],"b":{},"a":{}}`: false,
	} {
		a.answer = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
		}
		if raw, err := a.call("x", `{}`); (err == nil) != good || good && !json.Valid([]byte(raw)) {
			t.Errorf("%s: %s %v", body, raw, err)
		}
	}
}

// A credential that is refused before its time is told of, and the request goes out once more, whole, with another one:
// never without one, and never a third time.
func TestRefusedCredential(t *testing.T) {
	const posting = `{"/x":{"post":{"operationId":"x","requestBody":{"content":{"application/json":{}}},"responses":{}}}}`
	gone := &connector.Error{Code: connector.CodeInternal, Message: "sign in again"}
	for _, tt := range []struct {
		name, first, then string // credentials; then "" = none is to be had
		good, want        string
		requests          int
	}{
		{"another one", "old", "new", "Bearer new", `"ok":true`, 2},
		{"refused too", "old", "new", "", "HTTP 401", 2},
		{"no other", "old", "old", "", "HTTP 401", 1},
		{"none left", "old", "", "", "sign in again", 1},
		{"good at once", "old", "new", "Bearer old", `"ok":true`, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := mount(t, doc("3.1.0", posting, ""), func(o *rest.Options) { o.Config.Parallel = 1 })
			a.answer = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.Header.Get("Authorization") != tt.good {
					w.WriteHeader(http.StatusUnauthorized)
					fmt.Fprint(w, strings.Repeat("no ", 1<<17)) // nobody reads it all, and there is one connection
				}
				fmt.Fprint(w, `{"ok":true}`)
			}
			token, told := tt.first, 0
			raw, err := a.source.Do(t.Context(), connector.Call{
				Method: "tools/call", Params: []byte(`{"name":"x","arguments":{"body":{"a":[1]}}}`),
				Credential: func(context.Context) (connector.Credential, error) {
					if token == "" {
						return connector.Credential{}, gone
					}
					return connector.Credential{Header: "Authorization", Value: oauth.Secret("Bearer " + token),
						Refused: func(context.Context) { told++; token = tt.then }}, nil
				},
			})
			if got := fmt.Sprint(string(raw), err); !strings.Contains(got, tt.want) || (err != nil) != (tt.then == "") {
				t.Errorf("got %s", got)
			}
			if len(a.said) != tt.requests || slices.ContainsFunc(a.said, func(body string) bool { return body != `{"a":[1]}` }) {
				t.Errorf("requests: %q", a.said)
			}
			if refused := tt.good != "Bearer old"; refused != (told == 1) {
				t.Errorf("told %d times", told)
			}
			for _, r := range a.asked {
				if len(r.Header.Values("Authorization")) != 1 || len(r.Header.Values("Hostedmcp-Subject")) > 1 {
					t.Errorf("headers: %v", r.Header)
				}
			}
		})
	}
}

// What cannot be handed on is the connector's error, with its reason.
func TestBadAnswers(t *testing.T) {
	a := mount(t, doc("3.1.0", plain, ""))
	for _, body := range []string{"{", `{"a":1}{`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}", strings.Repeat("[", 101) + strings.Repeat("]", 101), `{"a":01}`} {
		a.answer = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
		}
		_, err := a.call("x", `{}`)
		var e *connector.Error
		if !errors.As(err, &e) || e.Reason != oauth.ConnectorBadAnswer || !strings.Contains(e.Cause.Error(), "GET /x") {
			t.Errorf("%.20s: %v", body, err)
		}
	}
}

// An API to which there is no way takes its tools away after some calls, and comes back by itself.
func TestAway(t *testing.T) {
	a := mount(t, doc("3.1.0", plain, ""), func(o *rest.Options) {
		o.HTTP = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	})
	changes := make(chan connector.State, 10)
	a.source.OnChange(func() { changes <- a.source.State() })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.source.Run(ctx) }()
	a.answer = func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			panic(http.ErrAbortHandler)
		}
	}
	for range 3 {
		_, err := a.call("x", `{}`)
		var e *connector.Error
		if !errors.As(err, &e) || e.Reason != oauth.ConnectorUnreachable || strings.Contains(e.Message, a.server.URL) {
			t.Fatal(err)
		}
	}
	if s := <-changes; s.Up || s.Reason != oauth.ConnectorUnreachable || s.Since.IsZero() {
		t.Errorf("after three: %+v", s)
	}
	if s := <-changes; !s.Up {
		t.Errorf("it answers again, and is %+v", s)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A caller that hangs up says nothing about the API.
func TestHungUp(t *testing.T) {
	a := mount(t, doc("3.1.0", plain, ""))
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		a.answer = func(w http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() }
		_, err := a.source.Do(ctx, connector.Call{Method: "tools/call", Params: json.RawMessage(`{"name":"x"}`)})
		if err == nil {
			t.Fatal("answered")
		}
	}
	if s := a.source.State(); !s.Up {
		t.Errorf("%+v", s)
	}
}
