package rest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/rest"
)

// BenchmarkDo measures one call beside the bare HTTP request that it makes, in turns; own-us is what is ours of it.
func BenchmarkDo(b *testing.B) {
	const answer = `{"id":"42","name":"Acme","open":true,"tags":["a","b"],"owner":{"name":"Alice","mail":"alice@example.com"}}`
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	defer api.Close()
	const account = `{"type":"object","required":["id"],"properties":{"id":{"type":"string"},"name":{"type":"string"},"open":{"type":"boolean"},"tags":{"type":"array","items":{"type":"string"}}}}`
	document := doc("3.1.0", `{"/accounts/{id}":{"post":{"operationId":"x","parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}},
		{"name":"limit","in":"query","schema":{"type":"integer"}}],"requestBody":{"content":{"application/json":{"schema":`+account+`}}},
		"responses":{"200":{"content":{"application/json":{"schema":`+account+`}}}}}}}`, "")
	s, err := rest.New(rest.Options{Config: connector.Config{Name: "crm", Kind: connector.OpenAPI, Document: write(b, document), URL: api.URL + "/v1"}.Complete()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(context.Background())
	call := connector.Call{
		Method: "tools/call", Params: []byte(`{"name":"x","arguments":{"id":"42","limit":10,"body":{"id":"42","name":"Acme","open":true,"tags":["a","b"]}},"_meta":{"a":1}}`),
		User: connector.User{Subject: "alice", ClientID: "https://client.example/id", Request: "REQ1"},
		Credential: func(context.Context) (connector.Credential, error) {
			return connector.Credential{Header: "Authorization", Value: oauth.Secret("Bearer of-alice-and-long")}, nil
		},
	}
	through := func() error {
		raw, err := s.Do(b.Context(), call)
		if err == nil && !strings.Contains(string(raw), `"structuredContent"`) {
			b.Fatalf("%s", raw)
		}
		return err
	}
	h := &http.Client{Transport: &http.Transport{}}
	defer h.CloseIdleConnections()
	direct := func() error {
		resp, err := h.Post(api.URL+"/v1/accounts/42?limit=10", "application/json", strings.NewReader(`{"id":"42","name":"Acme","open":true,"tags":["a","b"]}`))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	var took [2]time.Duration
	b.ReportAllocs()
	for b.Loop() {
		for i, f := range []func() error{direct, through} {
			start := time.Now()
			if err := f(); err != nil {
				b.Fatal(err)
			}
			took[i] += time.Since(start)
		}
	}
	b.ReportMetric(float64(took[0].Nanoseconds())/1000/float64(b.N), "bare-us")
	b.ReportMetric(float64((took[1]-took[0]).Nanoseconds())/1000/float64(b.N), "own-us")
}
