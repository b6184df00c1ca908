package main

import (
	"encoding/json"
	"math"
	"strings"

	"pgregory.net/rapid"
)

// arguments makes a value for the tool's own input schema: the least that it asks for, or all that it knows.
func (t tool) arguments(full bool) any {
	var schema map[string]any
	if err := json.Unmarshal(t.InputSchema, &schema); err != nil {
		return map[string]any{}
	}
	g := generator{defs: object(schema["$defs"]), full: full}
	return g.value(schema, 0)
}

type generator struct {
	defs map[string]any
	full bool
}

// deepest is how far optional members are filled in.
const deepest = 4

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func (g generator) value(schema any, depth int) any {
	s := object(schema)
	if ref, ok := s["$ref"].(string); ok {
		return g.value(g.defs[strings.TrimPrefix(ref, "#/$defs/")], depth+1)
	}
	if v, ok := s["const"]; ok {
		return v
	}
	if e, ok := s["enum"].([]any); ok && len(e) > 0 {
		return e[0]
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		if list, ok := s[key].([]any); ok && len(list) > 0 {
			merged := map[string]any{}
			for k, v := range s {
				if k != key {
					merged[k] = v
				}
			}
			return g.value(g.merge(merged, list[0]), depth+1)
		}
	}
	if list, ok := s["allOf"].([]any); ok {
		merged := map[string]any{}
		for k, v := range s {
			if k != "allOf" {
				merged[k] = v
			}
		}
		for _, part := range list {
			merged = g.merge(merged, part)
		}
		return g.value(merged, depth+1)
	}
	return g.typed(s, depth)
}

// merge puts two schemas that both hold into one, as far as members and types go.
func (g generator) merge(a map[string]any, with any) map[string]any {
	b := object(with)
	if ref, ok := b["$ref"].(string); ok {
		b = object(g.defs[strings.TrimPrefix(ref, "#/$defs/")])
	}
	out := map[string]any{}
	for k, v := range b {
		out[k] = v
	}
	for k, v := range a {
		if k == "properties" && out[k] != nil {
			both := map[string]any{}
			for n, p := range object(out[k]) {
				both[n] = p
			}
			for n, p := range object(v) {
				both[n] = p
			}
			out[k] = both
			continue
		}
		if list, ok := v.([]any); ok && k == "required" {
			have, _ := out[k].([]any)
			out[k] = append(append([]any{}, have...), list...)
			continue
		}
		out[k] = v
	}
	return out
}

func (g generator) typed(s map[string]any, depth int) any {
	kind, _ := s["type"].(string)
	if list, ok := s["type"].([]any); ok && len(list) > 0 {
		kind, _ = list[0].(string)
	}
	if kind == "" && s["properties"] != nil {
		kind = "object"
	}
	switch kind {
	case "object":
		return g.members(s, depth)
	case "array":
		return g.items(s, depth)
	case "integer", "number":
		return number(s)
	case "boolean":
		return true
	case "null":
		return nil
	}
	return g.text(s)
}

func (g generator) members(s map[string]any, depth int) any {
	out := map[string]any{}
	properties := object(s["properties"])
	required, _ := s["required"].([]any)
	for _, name := range required {
		if n, ok := name.(string); ok && depth < 12 {
			out[n] = g.value(properties[n], depth+1)
		}
	}
	if g.full && depth < deepest {
		for name, p := range properties {
			if _, there := out[name]; !there && object(p)["readOnly"] != true {
				out[name] = g.value(p, depth+1)
			}
		}
	}
	if most, ok := s["maxProperties"].(float64); ok && len(out) > int(most) {
		return map[string]any{}
	}
	return out
}

func (g generator) items(s map[string]any, depth int) any {
	least, _ := s["minItems"].(float64)
	if g.full && depth < deepest {
		least = max(least, 1)
	}
	out := []any{}
	for i := 0; i < int(least) && depth < 12; i++ {
		out = append(out, g.value(s["items"], depth+1))
	}
	return out
}

func number(s map[string]any) any {
	low, high := 1.0, math.Inf(1)
	if v, ok := s["minimum"].(float64); ok {
		low = max(low, math.Ceil(v))
	}
	if v, ok := s["exclusiveMinimum"].(float64); ok {
		low = max(low, math.Floor(v)+1)
	}
	if v, ok := s["maximum"].(float64); ok {
		high = v
	}
	if v, ok := s["exclusiveMaximum"].(float64); ok {
		high = v - 1
	}
	if m, ok := s["multipleOf"].(float64); ok {
		low = math.Ceil(low/m) * m
	}
	return min(low, high)
}

func (g generator) text(s map[string]any) any {
	if p, ok := s["pattern"].(string); ok {
		least, _ := s["minLength"].(float64)
		for i := range 50 {
			if v := rapid.StringMatching(p).Example(i); len(v) >= int(least) {
				return v
			}
		}
	}
	if s["contentEncoding"] == "base64" {
		return "aGVsbG8="
	}
	v := map[string]string{
		"date-time": "2026-11-23T10:00:00Z", "date": "2026-11-23", "time": "10:00:00Z", "email": "a@b.example", "uri": "https://a.example/x?y=1",
		"uuid": "123e4567-e89b-12d3-a456-426614174000", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1", "hostname": "a.example", "url": "https://a.example/",
		"uri-reference": "/x", "duration": "P1D", "decimal": "1.5",
	}[str(s["format"])]
	if v == "" {
		v = "a b/&=?#"
	}
	if most, ok := s["maxLength"].(float64); ok && len([]rune(v)) > int(most) {
		v = strings.Repeat("a", int(most))
	}
	if least, ok := s["minLength"].(float64); ok && len([]rune(v)) < int(least) {
		v += strings.Repeat("a", int(least)-len([]rune(v)))
	}
	return v
}

func str(v any) string {
	s, _ := v.(string)
	return s
}
