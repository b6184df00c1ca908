package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth"
	"hostedmcp/web"
)

// BenchmarkPipeline is what the pipeline adds to a request of /mcp: everything but the network and the endpoint.
func BenchmarkPipeline(b *testing.B) {
	pages, err := web.NewPages(publicSite(), nil)
	if err != nil {
		b.Fatal(err)
	}
	handler, err := web.NewHandler(web.Options{Pages: pages, Log: web.NewLogger(web.DefaultLogConfig(), io.Discard), Registerer: prometheus.NewRegistry(),
		Endpoints: []auth.Endpoint{{Path: "/mcp", Methods: []string{"POST"}, CORS: auth.CORSListed, MaxBody: 4 << 20,
			Handle: func(w http.ResponseWriter, r *http.Request) error {
				auth.Request(r.Context()).Grant("grant", "client", "subject")
				w.WriteHeader(http.StatusOK)
				return nil
			}}}})
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/mcp", nil)
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(&discard{header: http.Header{}}, r)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
