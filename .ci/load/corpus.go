package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
)

// entry is one tool definition, and the result of a call with its number.
type entry struct{ definition, result string }

// corpusSize is how many there are of each.
const corpusSize = 240

// keywords are all keywords of JSON Schema 2020-12, core to content, each with a value.
var keywords = []string{
	`"$id":"https://example.com/s"`, `"$anchor":"a"`, `"$dynamicAnchor":"d"`, `"$ref":"#/$defs/x"`, `"$dynamicRef":"#d"`,
	`"$comment":"why <b>"`, `"$vocabulary":{"https://json-schema.org/draft/2020-12/vocab/core":true}`, `"$defs":{"y":true}`,
	`"allOf":[{"minimum":1e2},true]`, `"anyOf":[{"type":"null"},{}]`, `"oneOf":[{"const":9007199254740993}]`, `"not":{"type":"array"}`,
	`"if":{"required":["a"]}`, `"then":{"maxLength":7}`, `"else":false`, `"dependentSchemas":{"a":{"required":["b"]}}`,
	`"prefixItems":[{"type":"integer"},false]`, `"items":{"type":["string","null"]}`, `"contains":{"const":"漢字"}`,
	`"properties":{"zeta":{},"alpha":{}}`, `"patternProperties":{"^\u0061\\d+$":{}}`, `"additionalProperties":false`,
	`"propertyNames":{"pattern":"^[a-z]+$"}`, `"unevaluatedItems":false`, `"unevaluatedProperties":{"type":"number"}`,
	`"type":"string"`, `"enum":[1.0,1,"1",null,[],{}]`, `"const":{"b":1,"a":-0}`, `"multipleOf":0.10`, `"maximum":1E+2`,
	`"exclusiveMaximum":18446744073709551616`, `"minimum":-9223372036854775809`, `"exclusiveMinimum":1e-400`, `"maxLength":10`,
	`"minLength":0`, `"pattern":"<[^>]*>&amp;\/"`, `"maxItems":3`, `"minItems":1`, `"uniqueItems":true`, `"maxContains":2`,
	`"minContains":1`, `"maxProperties":9`, `"minProperties":0`, `"required":["z","a"]`, `"dependentRequired":{"a":["b"]}`,
	`"title":"Zoë \u00e9 🎉"`, `"description":"a\tb\n\"c\" \u2028"`, `"default":[1e2,{"é":"\ud83c\udf89"}]`, `"deprecated":false`,
	`"readOnly":true`, `"writeOnly":false`, `"examples":["<a href=\"x\">",1e2,null]`, `"format":"date-time"`,
	`"contentEncoding":"base64"`, `"contentMediaType":"image/png"`, `"contentSchema":{"type":"object"}`, `"x-unknown":{"z":1,"a":2}`,
}

// blocks are all kinds of content, with members that nobody knows.
var blocks = []string{
	`{"type":"text","text":"a <b> & \u003c \u00e9 é \/ 🎉","annotations":{"audience":["user"],"priority":0.50}}`,
	`{"data":"aGk=","type":"image","mimeType":"image/png","_meta":{"example.com/z":1e2}}`,
	`{"type":"audio","mimeType":"audio/wav","data":"UklGRg=="}`,
	`{"type":"resource_link","uri":"file:///a%20b?x=<1>&y","name":"l","size":9007199254740993,"lastModified":"2026-01-01T00:00:00Z"}`,
	`{"type":"resource","resource":{"uri":"crm://1","text":"line\r\nline","mimeType":"text/plain"}}`,
	`{"type":"resource","resource":{"blob":"AAEC","uri":"crm://2","x-unknown":[ ]}}`,
	`{"type":"of-tomorrow","x":{"b":1,"a":2}}`,
}

// corpus is the same in every process: its children make it anew.
var corpus = sync.OnceValue(func() []entry {
	r := rand.New(rand.NewPCG(20260728, 1))
	out := make([]entry, corpusSize)
	for i := range out {
		out[i] = entry{definition(r, i), answered(r, i)}
	}
	return out
})

func definition(r *rand.Rand, i int) string {
	first, second := keywords[i%len(keywords)], keywords[(i+1+i/len(keywords))%len(keywords)]
	members := []string{
		fmt.Sprintf(`"name" : "tool_%d"`, i),
		fmt.Sprintf(`"inputSchema":{ "$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"z":{%s},"a":{%s , %s}}, "$defs":{"x":{}}}`,
			first, first, second),
		`"description":` + words(r), fmt.Sprintf(`"x-%d":%s`, i, odd(r, 3)),
	}
	for n, m := range []string{
		`"title":` + words(r), `"outputSchema":{"properties":{"y":{` + first + `}}, "type":"object"}`, `"annotations":{"readOnlyHint":true,"x":` + odd(r, 2) + `}`,
		`"_meta":{"example.com/own":` + odd(r, 2) + `}`, `"icons":[{"src":"data:image\/png;base64,AA=="}]`, `"execution":{"taskSupport":"forbidden"}`,
	} {
		if (i+n)%3 == 0 {
			members = append(members, m)
		}
	}
	r.Shuffle(len(members), func(a, b int) { members[a], members[b] = members[b], members[a] })
	return "{ " + strings.Join(members, " ,\t") + " }"
}

func answered(r *rand.Rand, i int) string {
	members := []string{
		fmt.Sprintf(`"content":[%s , %s]`, blocks[i%len(blocks)], blocks[(i*3+1)%len(blocks)]),
		fmt.Sprintf(`"structuredContent":{"n" : %d,"odd":%s,"more":%s}`, i, odd(r, 4), object(r, 3)), fmt.Sprintf(`"x-%d":%s`, i, odd(r, 3)),
	}
	if i%3 == 0 {
		members = append(members, `"_meta":{"example.com/b":`+odd(r, 2)+`, "a":1e2}`)
	}
	if i%5 == 0 {
		members = append(members, `"isError": `+[]string{"true", "false"}[i%2])
	}
	r.Shuffle(len(members), func(a, b int) { members[a], members[b] = members[b], members[a] })
	return "{" + strings.Join(members, " , ") + "}"
}

// odd writes a value that readers without care change.
func odd(r *rand.Rand, depth int) string {
	scalars := []string{"1e2", "1E+2", "-0", "0.10", "9007199254740993", "-123456789012345678901234567890", "1.5e999", "true", "null", `""`, words(r)}
	switch n := r.IntN(len(scalars) + 2*depth); {
	case n < len(scalars):
		return scalars[n]
	case n%2 == 0:
		return object(r, depth-1)
	}
	var items []string
	for range r.IntN(4) {
		items = append(items, odd(r, depth-1))
	}
	return "[ " + strings.Join(items, " , ") + "\t]"
}

func words(r *rand.Rand) string {
	return []string{`"<a href=\"x\">&amp;</a>"`, `"Zoë \u00e9 漢字 🎉"`, `"\ud83c\udf89\/\u003c"`, `"half \ud83c pair"`, "\"\u2028\u2029\"", `"a\tb\u0000"`}[r.IntN(6)]
}

// object writes an object whose names are in no order.
func object(r *rand.Rand, depth int) string {
	var members []string
	for i := range r.IntN(6) {
		members = append(members, fmt.Sprintf(`"%s%d" :%s`, []string{"z", "$ref", "const", "é", `\u0061`, "x-mcp"}[r.IntN(6)], i, odd(r, max(depth, 1)-1)))
	}
	return "{" + strings.Join(members, ", ") + "\r}"
}
