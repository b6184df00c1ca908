package rest_test

import (
	"fmt"
	"strings"
	"testing"
)

// A schema of the document as it stands in a tool: JSON Schema 2020-12 with the document's order, digits and words.
func TestSchemas(t *testing.T) {
	for _, tt := range []struct{ name, version, schema, want string }{
		{"order, digits and non-ASCII stay (style.md, trap 3)", "3.1.0",
			`{"type":"integer","maximum":9007199254740993,"description":"Größe <b>","minimum":1e2,"default":7}`,
			`{"type":"integer","maximum":9007199254740993,"description":"Größe <b>","minimum":1e2,"default":7}`},
		{"nullable (OpenAPI 3.0 §4.7.24)", "3.0.3", `{"type":"string","nullable":true}`, `{"type":["string","null"]}`},
		{"nullable with enum", "3.0.3", `{"type":"string","nullable":true,"enum":["a"]}`, `{"type":["string","null"],"enum":["a",null]}`},
		{"nullable with an enum that says so", "3.0.3", `{"type":"string","nullable":true,"enum":["a",null]}`, `{"type":["string","null"],"enum":["a",null]}`},
		{"nullable without type", "3.0.3", `{"nullable":true,"allOf":[{"type":"string"}]}`, `{"anyOf":[{"allOf":[{"type":"string"}]},{"type":"null"}]}`},
		{"exclusive bounds", "3.0.3", `{"type":"number","minimum":1,"exclusiveMinimum":true,"maximum":9,"exclusiveMaximum":false}`,
			`{"type":"number","exclusiveMinimum":1,"maximum":9}`},
		{"example", "3.0.3", `{"type":"string","example":"a"}`, `{"type":"string","examples":["a"]}`},
		{"bytes", "3.0.3", `{"type":"string","format":"byte"}`, `{"type":"string","format":"byte","contentEncoding":"base64"}`},
		{"what only XML readers need", "3.0.3", `{"type":"string","xml":{"name":"x"},"x-order":1,"externalDocs":{"url":"https://a.example"}}`, `{"type":"string"}`},
		{"no type at all", "3.0.3", `{"type":"any","required":true,"description":1}`, `{}`},
		{"required twice", "3.1.0", `{"type":"object","required":["a","a"],"properties":{"a":{}}}`, `{"type":"object","required":["a"],"properties":{"a":{}}}`},
		{"what the API writes is not asked for", "3.0.3",
			`{"type":"object","required":["id","name"],"properties":{"id":{"type":"string","readOnly":true},"name":{"type":"string"}}}`,
			`{"type":"object","required":["name"],"properties":{"id":{"type":"string","readOnly":true},"name":{"type":"string"}}}`},
		{"an expression that JavaScript refuses", "3.1.0", `{"type":"string","pattern":"^[a\\-z]\\_$"}`, `{"type":"string","$comment":"pattern: ^[a\\-z]\\_$"}`},
		{"an expression for all", "3.1.0", `{"type":"string","pattern":"^\\d{3}$"}`, `{"type":"string","pattern":"^\\d{3}$"}`},
		{"a list of item schemas", "3.1.0", `{"type":"array","items":[{"type":"string"}]}`, `{"type":"array","prefixItems":[{"type":"string"}]}`},
		{"keywords of 2020-12", "3.1.0",
			`{"if":{"const":1},"then":{"minimum":0},"else":false,"dependentSchemas":{"a":{"minProperties":2}},"unevaluatedProperties":false,"prefixItems":[{"nullable":true,"type":"string"}]}`,
			`{"if":{"const":1},"then":{"minimum":0},"else":false,"dependentSchemas":{"a":{"minProperties":2}},"unevaluatedProperties":false,"prefixItems":[{"type":["string","null"]}]}`},
		{"a reference used once stands in its place", "3.1.0", `{"$ref":"#/components/schemas/One"}`, `{"type":"string","minLength":1}`},
		{"with a description of its own", "3.1.0", `{"$ref":"#/components/schemas/One","description":"d"}`, `{"description":"d","type":"string","minLength":1}`},
		{"with more to judge by", "3.1.0", `{"$ref":"#/components/schemas/One","maxLength":3}`, `{"maxLength":3,"allOf":[{"type":"string","minLength":1}]}`},
		{"siblings of a reference say nothing in 3.0", "3.0.3", `{"$ref":"#/components/schemas/One","maxLength":3}`, `{"type":"string","minLength":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			paths := fmt.Sprintf(`{"/x":{"post":{"operationId":"x","requestBody":{"content":{"application/json":{"schema":%s}}},"responses":{}}}}`, tt.schema)
			a := mount(t, doc(tt.version, paths, `{"schemas":{"One":{"type":"string","minLength":1}}}`))
			want := `{"type":"object","properties":{"body":` + tt.want + `},"additionalProperties":false}`
			if got := string(a.definition("x")["inputSchema"]); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// What is referred to often, or holds itself, stands once, under $defs.
func TestRecursion(t *testing.T) {
	a := mount(t, doc("3.0.3", `{"/x":{"post":{"operationId":"x","requestBody":{"content":{"application/json":{"schema":{
		"type":"object","properties":{"a":{"$ref":"#/components/schemas/Node"},"b":{"$ref":"#/components/schemas/Money~1EUR"},"c":{"$ref":"#/components/schemas/Money~1EUR"}}}}}},"responses":{}}}}`,
		`{"schemas":{"Node":{"type":"object","properties":{"next":{"$ref":"#/components/schemas/Node"}}},"Money/EUR":{"type":"number"}}}`))
	want := `{"type":"object","properties":{"body":{"type":"object","properties":{"a":{"$ref":"#/$defs/Node"},"b":{"$ref":"#/$defs/Money_1EUR"},"c":{"$ref":"#/$defs/Money_1EUR"}}}},` +
		`"additionalProperties":false,"$defs":{"Node":{"type":"object","properties":{"next":{"$ref":"#/$defs/Node"}}},"Money_1EUR":{"type":"number"}}}`
	if got := string(a.definition("x")["inputSchema"]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	a.must("x", `{"body":{"a":{"next":{"next":{}}}}}`)
	if raw, _ := a.call("x", `{"body":{"a":{"next":{"next":7}}}}`); !strings.Contains(raw, `"isError":true`) {
		t.Errorf("a value that does not fit deep inside was sent: %s", raw)
	}
}

// A schema that judges a value by itself never comes to an end: its operation is left out, the others work. An answer
// of such a schema is handed on unjudged.
func TestEndless(t *testing.T) {
	for _, endless := range []string{
		`{"$ref":"#/components/schemas/A"}`, `{"$ref":"#/components/schemas/B"}`, `{"allOf":[{"$ref":"#/components/schemas/A"}]}`,
		`{"anyOf":[{"type":"string"},{"oneOf":[{"$ref":"#/components/schemas/B"}]}]}`, `{"not":{"$ref":"#/components/schemas/A"}}`,
		`{"type":"object","dependentSchemas":{"a":{"$ref":"#/components/schemas/A"}}}`,
	} {
		body := `"content":{"application/json":{"schema":{"$ref":"#/components/schemas/A"}}}`
		a := mount(t, doc("3.1.0", `{"/a":{"post":{"operationId":"a","requestBody":{`+body+`},"responses":{}},"get":{"operationId":"b","responses":{"200":{"description":"",`+body+`}}}}}`,
			`{"schemas":{"A":`+endless+`,"B":{"$ref":"#/components/schemas/A"}}}`))
		if _, err := a.call("a", `{"body":{"a":1}}`); err == nil || !strings.Contains(err.Error(), "unknown tool") {
			t.Errorf("%s: %v", endless, err)
		}
		if a.definition("b")["outputSchema"] != nil {
			t.Errorf("%s: shown", endless)
		}
		a.must("b", `{}`)
	}
}

// A reference keeps what it names, also beside an allOf of its own (OpenAPI 3.1 §4.8.24).
func TestSiblings(t *testing.T) {
	a := mount(t, doc("3.1.0", `{"/x":{"post":{"operationId":"x","requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/A","allOf":[{"required":["b"]}]}}}},"responses":{}}}}`,
		`{"schemas":{"A":{"properties":{"b":{"type":"string"}}}}}`))
	want := `{"type":"object","properties":{"body":{"allOf":[{"required":["b"]},{"properties":{"b":{"type":"string"}}}]}},"additionalProperties":false}`
	if got := string(a.definition("x")["inputSchema"]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Structured content is an object in all versions of MCP: what is none stands under "result".
func TestOutputSchemas(t *testing.T) {
	for _, tt := range []struct{ name, responses, want string }{
		{"an object", `{"200":{"content":{"application/json":{"schema":{"type":"object","properties":{"a":{"type":"string"}}}}}}}`,
			`{"type":"object","properties":{"a":{"type":"string"}}}`},
		{"an object that does not say so", `{"200":{"content":{"application/json":{"schema":{"properties":{"a":{}}}}}}}`, `{"type":"object","properties":{"a":{}}}`},
		{"a list", `{"200":{"content":{"application/json":{"schema":{"type":"array","items":{"type":"string"}}}}}}`,
			`{"type":"object","properties":{"result":{"type":"array","items":{"type":"string"}}},"required":["result"]}`},
		{"by reference", `{"201":{"$ref":"#/components/responses/R"}}`, `{"type":"object","properties":{"b":{"type":"integer"}}}`},
		{"an error's is none", `{"400":{"content":{"application/json":{"schema":{"type":"object"}}}},"default":{"content":{"application/json":{"schema":{"type":"object"}}}}}`, ``},
		{"no JSON", `{"200":{"content":{"text/csv":{"schema":{"type":"string"}}}}}`, ``},
		{"two that differ", `{"200":{"content":{"application/json":{"schema":{"type":"object"}}}},"202":{"content":{"application/json":{"schema":{"type":"array"}}}}}`, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := mount(t, doc("3.1.0", `{"/x":{"get":{"operationId":"x","responses":`+tt.responses+`}}}`,
				`{"responses":{"R":{"content":{"application/vnd.a+json; charset=utf-8":{"schema":{"type":"object","properties":{"b":{"type":"integer"}}}}}}}}`))
			if got := string(a.definition("x")["outputSchema"]); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// Name, words and annotations of a tool.
func TestDefinitions(t *testing.T) {
	long := strings.Repeat("veryLong", 12)
	a := mount(t, doc("3.1.0", `{"/a/{id}":{"parameters":[{"name":"id","in":"path","required":true,"description":"which","schema":{"type":"string","description":"old"}}],
		"get":{"summary":"Read one","description":"All of it.","responses":{}},
		"delete":{"operationId":"drop it!","deprecated":true,"parameters":[{"name":"id","in":"query","schema":{"type":"string"}}],"responses":{}},
		"post":{"operationId":"`+long+`","responses":{}},"put":{"operationId":"put","responses":{}},"trace":{"operationId":"trace","responses":{}}}}`, ""))
	get := a.definition("get_a_id")
	for key, want := range map[string]string{
		"title": `"Read one"`, "description": `"Read one\n\nAll of it.\n\nGET /a/{id}"`,
		"inputSchema": `{"type":"object","properties":{"id":{"description":"which","type":"string"}},"required":["id"],"additionalProperties":false}`,
		"annotations": `{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"openWorldHint":true}`,
	} {
		if got := string(get[key]); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	drop := a.definition("drop_it")
	if got := string(drop["annotations"]); got != `{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":true,"openWorldHint":true}` {
		t.Errorf("DELETE is %s", got)
	}
	if got := string(drop["description"]); got != `"Deprecated.\n\nDELETE /a/{id}"` {
		t.Errorf("deprecated: %s", got)
	}
	// the operation's own parameter comes first and keeps its name; the path's gets its place
	if got := string(drop["inputSchema"]); !strings.Contains(got, `"id_in_path"`) {
		t.Errorf("two parameters of one name: %s", got)
	}
	if got := string(a.definition("put")["annotations"]); !strings.Contains(got, `"idempotentHint":true`) {
		t.Errorf("PUT is %s", got)
	}
	c, _ := a.source.Catalog(t.Context(), nil)
	if len(c.Tools) != 4 {
		t.Errorf("%d tools, want 4: TRACE is none", len(c.Tools))
	}
	for _, raw := range c.Tools {
		if name, _, _ := strings.Cut(string(raw), `",`); len(name)-len(`{"name":"`)+len("crm__") > 64 {
			t.Errorf("%s is too long with its prefix", name)
		}
	}
}
