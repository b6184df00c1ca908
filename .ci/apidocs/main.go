// Command apidocs turns published OpenAPI documents into tools and judges them by libraries that are not ours: each
// tool's schemas by the meta-schema of JSON Schema 2020-12, and the request that each tool makes of arguments generated
// from its own schema by the document itself.
//
//	apidocs [-tools N] NAME=FILE...
//
// N tools of each document are called (0 = all), evenly spread. It ends with 1 if a schema or a request is not what it
// must be, or if too few tools could be called.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/rest"
)

func main() {
	tools := flag.Int("tools", 40, "tools of each document that are called; 0 = all")
	verbose := flag.Bool("v", false, "each fault in full")
	flag.Parse()
	bad := 0
	for _, arg := range flag.Args() {
		name, file, _ := strings.Cut(arg, "=")
		began := time.Now()
		r, err := judge(file, *tools)
		if err != nil {
			fmt.Printf("%-22s %v\n", name, err)
			bad++
			continue
		}
		fmt.Printf("%-22s %5d tools, %3d left out, %3d called, %3d not callable, %d bad schemas, %d bad requests  %s\n",
			name, r.tools, r.left, r.called, r.refused, len(r.schemas), len(r.requests), time.Since(began).Round(time.Millisecond))
		for _, f := range append(r.schemas, r.requests...) {
			if !*verbose && len(f) > 400 {
				f = f[:400]
			}
			fmt.Println("    " + f)
		}
		if len(r.schemas) > 0 || len(r.requests) > 0 || r.called == 0 || r.refused > r.called/4 {
			bad++
		}
	}
	if bad > 0 {
		fmt.Printf("%d of %d documents failed\n", bad, flag.NArg())
		os.Exit(1)
	}
	fmt.Printf("%d documents passed\n", flag.NArg())
}

// report is what was found out about one document.
type report struct {
	tools, left, called, refused int
	schemas, requests            []string
}

// judge mounts a document on a server that answers nothing, and judges what comes of it.
func judge(file string, most int) (*report, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	home, err := serverOf(data)
	if err != nil {
		return nil, err
	}
	var last request
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last = request{r.Method, r.RequestURI, r.Header.Clone(), body}
		w.WriteHeader(http.StatusTeapot) // a refusal: what the document promises of answers is not the question here
	}))
	defer api.Close()
	source, err := rest.New(rest.Options{Config: connector.Config{
		Name: "api", Kind: connector.OpenAPI, Document: file, URL: api.URL + home.Path,
	}.Complete()})
	if err != nil {
		return nil, err
	}
	defer source.Close(context.Background())
	catalog, err := source.Catalog(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	document, err := libopenapi.NewDocument(data)
	if err != nil {
		return nil, err
	}
	model, faults := document.BuildV3Model()
	if model == nil {
		return nil, fmt.Errorf("the judge cannot read the document: %v", faults)
	}
	judge := validator.NewValidatorFromV3Model(&model.Model, config.WithoutSecurityValidation())
	r := &report{tools: len(catalog.Tools)}
	for _, f := range source.Check(context.Background()) {
		fmt.Sscanf(f.Text, "%d operations are left out", &r.left)
	}
	step := 1
	if most > 0 && len(catalog.Tools) > most {
		step = len(catalog.Tools) / most
	}
	for i, raw := range catalog.Tools {
		var t tool
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, err
		}
		r.schemas = append(r.schemas, t.judgeSchemas()...)
		if i%step != 0 {
			continue
		}
		for _, full := range []bool{false, true} {
			last = request{}
			args := t.arguments(full)
			params, _ := json.Marshal(map[string]any{"name": t.Name, "arguments": args})
			result, err := source.Do(context.Background(), connector.Call{Method: "tools/call", Params: params})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.Name, err)
			}
			if last.method == "" {
				r.refused++
				if r.refused <= 3 {
					fmt.Printf("    %s: not callable with %.200s: %.300s\n", t.Name, params, result)
				}
				continue
			}
			r.called++
			if fault := last.judge(judge, home); fault != "" {
				r.requests = append(r.requests, t.Name+" "+string(params)+" as "+last.method+" "+last.uri+": "+fault)
			}
		}
	}
	return r, nil
}

// serverOf is the first server of a document, as its paths are relative to it.
func serverOf(data []byte) (*url.URL, error) {
	var d struct {
		Servers []struct {
			URL       string
			Variables map[string]struct{ Default string }
		}
		Paths map[string]struct{ Servers []struct{ URL string } }
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	if len(d.Servers) == 0 {
		return &url.URL{}, nil
	}
	raw := d.Servers[0].URL
	for name, v := range d.Servers[0].Variables {
		raw = strings.ReplaceAll(raw, "{"+name+"}", v.Default)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// tool is a definition as a client reads it.
type tool struct {
	Name         string          `json:"name"`
	InputSchema  json.RawMessage `json:"inputSchema"`
	OutputSchema json.RawMessage `json:"outputSchema"`
}

// judgeSchemas compiles both schemas, which judges them by the meta-schema and follows every reference.
func (t tool) judgeSchemas() (faults []string) {
	for name, raw := range map[string]json.RawMessage{"inputSchema": t.InputSchema, "outputSchema": t.OutputSchema} {
		if raw == nil {
			continue
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err == nil {
			c := jsonschema.NewCompiler()
			c.DefaultDraft(jsonschema.Draft2020)
			if err = c.AddResource("tool.json", v); err == nil {
				_, err = c.Compile("tool.json")
			}
		}
		if err != nil {
			faults = append(faults, t.Name+" "+name+": "+strings.ReplaceAll(err.Error(), "\n", " "))
		}
	}
	return faults
}

// request is what the API heard.
type request struct {
	method, uri string
	header      http.Header
	body        []byte
}

// judge asks the document whether this is a request of its.
func (q request) judge(v validator.Validator, home *url.URL) string {
	target := *home
	if target.Host == "" {
		target.Scheme, target.Host = "https", "api.example"
	}
	r, err := http.NewRequest(q.method, target.Scheme+"://"+target.Host+q.uri, bytes.NewReader(q.body))
	if err != nil {
		return err.Error()
	}
	for name, values := range q.header {
		if name != "Accept-Encoding" {
			r.Header[name] = values
		}
	}
	ok, faults := v.ValidateHttpRequestSync(r)
	if ok {
		return ""
	}
	var all []string
	for _, f := range faults {
		s := f.Message + ": " + f.Reason
		for _, e := range f.SchemaValidationErrors {
			s += "; " + e.Reason
		}
		all = append(all, s)
	}
	return strings.Join(all, " | ")
}
