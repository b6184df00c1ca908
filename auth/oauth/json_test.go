package oauth_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"hostedmcp/auth/oauth"
)

const depth = 100 // protocol.md §1

func TestCheckJSON(t *testing.T) {
	for _, row := range []struct {
		source, data string
		ok           bool
	}{
		{"RFC 8259 §2 any value", `null`, true},
		{"RFC 8259 §2 space around", " \t\r\n{ \"a\" : [ 1 , 2 ] } \n", true},
		{"RFC 8259 §3 literals", `[true,false,null]`, true},
		{"RFC 8259 §3 lower case only", `True`, false},
		{"RFC 8259 §3 cut short", `nul`, false},
		{"RFC 8259 §4 empty object", `{}`, true},
		{"RFC 8259 §4 no trailing comma", `{"a":1,}`, false},
		{"RFC 8259 §4 colon", `{"a" 1}`, false},
		{"RFC 8259 §4 name is a string", `{a:1}`, false},
		{"RFC 8259 §5 no trailing comma", `[1,]`, false},
		{"RFC 8259 §5 comma between", `[1 2]`, false},
		{"RFC 8259 §5 end", `[1`, false},
		{"RFC 8259 §6 numbers", `[0,-0,10,1.5,-1.5e+10,1E-2,9007199254740993]`, true},
		{"RFC 8259 §6 leading zero", `01`, false},
		{"RFC 8259 §6 plus", `+1`, false},
		{"RFC 8259 §6 bare point", `1.`, false},
		{"RFC 8259 §6 bare point", `.5`, false},
		{"RFC 8259 §6 empty exponent", `1e`, false},
		{"RFC 8259 §6 bare minus", `-`, false},
		{"RFC 8259 §6 no NaN", `NaN`, false},
		{"RFC 8259 §7 escapes", `"\"\\\/\b\f\n\r\t\u00e9"`, true},
		{"RFC 8259 §7 unknown escape", `"\x41"`, false},
		{"RFC 8259 §7 short escape", `"\u00e"`, false},
		{"RFC 8259 §7 signed escape", `"\u+0e9"`, false},
		{"RFC 8259 §7 control", "\"a\nb\"", false},
		{"RFC 8259 §7 NUL", "\"a\x00b\"", false},
		{"RFC 8259 §7 end", `"abc`, false},
		{"RFC 8259 §7 end in escape", `"abc\`, false},
		{"RFC 8259 §8.1 UTF-8", "\"\u00e9\U0001F600\"", true},
		{"RFC 8259 §8.1 bad UTF-8", "\"\xff\"", false},
		{"RFC 8259 §8.1 overlong", "\"\xc0\x80\"", false},
		{"RFC 8259 §8.1 surrogate in UTF-8", "\"\xed\xa0\x80\"", false},
		{"RFC 8259 §8.1 byte order mark", "\ufeff{}", false},
		{"RFC 7493 §2.1 pair", `"\ud83d\ude00"`, true},
		{"RFC 7493 §2.1 high half", `"\ud83d"`, false},
		{"RFC 7493 §2.1 high half, then text", `"\ud83dx"`, false},
		{"RFC 7493 §2.1 two high halves", `"\ud83d\ud83d"`, false},
		{"RFC 7493 §2.1 low half", `"\ude00"`, false},
		{"RFC 7493 §2.3 duplicate", `{"a":1,"a":1}`, false},
		{"RFC 7493 §2.3 duplicate, escaped", `{"a":1,"\u0061":2}`, false},
		{"RFC 7493 §2.3 duplicate, deep", `[{"x":{"a":1,"b":[],"a":1}}]`, false},
		{"RFC 7493 §2.3 other case is another name", `{"a":1,"A":2}`, true},
		{"RFC 7493 §2.3 same name elsewhere", `{"a":{"a":1},"b":{"a":1}}`, true},
		{"protocol §1 nothing", ``, false},
		{"protocol §1 only space", ` `, false},
		{"protocol §1 trailing data", `{} {}`, false},
		{"protocol §1 trailing brace", `{}}`, false},
		{"protocol §1 comment", `{}//x`, false},
		{"protocol §1 depth", strings.Repeat("[", depth) + strings.Repeat("]", depth), true},
		{"protocol §1 too deep", strings.Repeat("[", depth+1) + strings.Repeat("]", depth+1), false},
		{"protocol §1 too deep, mixed", strings.Repeat(`{"a":[`, depth/2) + "{}" + strings.Repeat("]}", depth/2), false},
		{"protocol §1 flood", strings.Repeat("[", 1<<20), false},
		{"protocol §1 wide is not deep", "[" + strings.Repeat("[],", 1000) + "[]]", true},
	} {
		if err := oauth.CheckJSON([]byte(row.data), depth); (err == nil) != row.ok {
			t.Errorf("%s: %.60q: %v", row.source, row.data, err)
		}
	}
	if oauth.CheckJSON([]byte(`1`), 0) != nil || oauth.CheckJSON([]byte(`[]`), 0) == nil {
		t.Error("depth 0 is a value without arrays and objects")
	}
}

func TestCheckJSONErrorHoldsNoContent(t *testing.T) {
	for _, data := range []string{`{"secret":1,"secret":1}`, `{"a":"secret`, `{"a":"secret"} secret`, "\"secret\xff\""} {
		if err := oauth.CheckJSON([]byte(data), depth); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", data, err)
		}
	}
}

func TestParseObject(t *testing.T) {
	for _, data := range []string{``, `null`, `[]`, `"a"`, `{"a":1,"a":1}`, `{} x`} {
		if _, err := oauth.ParseObject([]byte(data), depth); err == nil {
			t.Errorf("%s is taken for an object", data)
		}
	}
	o, err := oauth.ParseObject([]byte(`{"s":"x","l":["a","b"],"n":null,"i":1,"S":"other","m":["a",1]}`), depth)
	if err != nil {
		t.Fatal(err)
	}
	text := func(name, want string) {
		if got, err := o.Text(name); err != nil || got != want {
			t.Errorf("Text(%s) = %q, %v", name, got, err)
		}
	}
	text("s", "x") // exact: not "other"
	text("n", "")
	text("absent", "")
	if got, err := o.List("l"); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("List(l) = %q, %v", got, err)
	}
	if got, err := o.List("absent"); err != nil || got != nil {
		t.Errorf("List(absent) = %q, %v", got, err)
	}
	for _, name := range []string{"i", "l"} {
		if _, err := o.Text(name); err == nil {
			t.Errorf("Text(%s) takes another type", name)
		}
	}
	for _, name := range []string{"i", "s", "m"} {
		if _, err := o.List(name); err == nil {
			t.Errorf("List(%s) takes another type", name)
		}
	}
}

// FuzzCheckJSON compares with encoding/json, which is laxer in exactly four things: broken UTF-8, half surrogates,
// duplicate names, depth.
func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-0.5e3,true,null,"\u00e9\ud83d\ude00"],"b":{}}`, `{"a":1,"a":2}`, `[[[[[[]]]]]]`, "\"\xff\"", `"\ud800"`, "[1e999,2]",
		`{"":0}`, ` 1 `, `[1,]`, `{"a"}`, `-`, `1.e5`, `tru`, `"\`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := oauth.CheckJSON(data, 5)
		if err == nil {
			if !json.Valid(data) {
				t.Fatalf("%q passes but is no JSON", data)
			}
			roundTrip(t, data)
			return
		}
		strict := []string{"not UTF-8", "half a surrogate", "duplicate name", "too deep"}
		known := slices.ContainsFunc(strict, func(s string) bool { return strings.Contains(err.Error(), s) })
		if json.Valid(data) && !known {
			t.Fatalf("%q: %v, but encoding/json takes it", data, err)
		}
		if !utf8.Valid(data) != strings.Contains(err.Error(), "not UTF-8") {
			t.Fatalf("%q: %v", data, err)
		}
	})
}

// roundTrip decodes what passed: no reader may find a member fewer, which is what a duplicate would be.
func roundTrip(t *testing.T, data []byte) {
	t.Helper()
	members := func(data []byte) (n int) {
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.UseNumber()
		for {
			if _, err := dec.Token(); err != nil {
				return n
			}
			n++
		}
	}
	var v any
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber() // a number may be beyond what a float holds
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	again, err := json.Marshal(v)
	if err != nil || members(again) != members(data) {
		t.Fatalf("%q becomes %q: %v", data, again, err)
	}
}
