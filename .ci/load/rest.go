package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
)

// The REST API: one operation, which says what came.

const document = `{"openapi":"3.1.0","info":{"title":"load","version":"1"},"paths":{"/echo":{"get":{"operationId":"work",
"description":"Says what came.","parameters":[{"name":"tag","in":"query","schema":{"type":"string"}}],
"responses":{"200":{"description":"what came","content":{"application/json":{"schema":{"type":"object"}}}}}}}}}`

// writeDocument writes the document of the API into a folder.
func writeDocument(dir string) (string, error) {
	path := filepath.Join(dir, "openapi.json")
	return path, os.WriteFile(path, []byte(document), 0o600)
}

// echo answers with what came. Credentials that an API repeats are hidden by hostedmcp: they are judged here.
func (r *run) echo(w http.ResponseWriter, req *http.Request) {
	r.judge(identify(req.Header), "REST")
	echo(w, req)
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"tag": r.URL.Query().Get("tag"), "who": identify(r.Header), "answer": nil})
}
