package mount_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// asked is a request as a raw server reads it.
type asked struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string                     `json:"name"`
		Cursor    string                     `json:"cursor"`
		Arguments map[string]json.RawMessage `json:"arguments"`
		Meta      map[string]json.RawMessage `json:"_meta"`
	} `json:"params"`
}

func result(id json.RawMessage, body string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id, body)
}

// hostile are the answers to calls of tools, each with what is wrong about it.
var hostile = map[string]func(a asked) string{
	"wrong id":       func(asked) string { return result(json.RawMessage("987654321"), `{}`) },
	"id as text":     func(a asked) string { return result(json.RawMessage(`"`+string(a.ID)+`"`), `{}`) },
	"not UTF-8":      func(a asked) string { return result(a.ID, "{\"a\":\"\xff\"}") },
	"duplicate name": func(a asked) string { return result(a.ID, `{"a":1,"\u0061":2}`) },
	"too deep":       func(a asked) string { return result(a.ID, strings.Repeat(`{"a":`, 200)+"1"+strings.Repeat("}", 200)) },
	"no object":      func(a asked) string { return result(a.ID, `[1]`) },
	"no result":      func(a asked) string { return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s}`, a.ID) },
	"both": func(a asked) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{},"error":{"code":1,"message":""}}`, a.ID)
	},
	"version 1":     func(a asked) string { return fmt.Sprintf(`{"id":%s,"result":{}}`, a.ID) },
	"error as text": func(a asked) string { return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":"no"}`, a.ID) },
	"cut":           func(a asked) string { return strings.TrimSuffix(result(a.ID, `{"a":1}`), "}") },
	"two messages":  func(a asked) string { return result(a.ID, `{}`) + result(a.ID, `{}`) },
	"too long":      func(a asked) string { return result(a.ID, `{"a":"`+strings.Repeat("x", maxBytes)+`"}`) },
}

// maxBytes is the limit that the tests of hostile servers set.
const maxBytes = 64 << 10

// rawAnswer is what a raw server says to a request; ok is false if it says nothing.
func rawAnswer(a asked, era string) (answer string, ok bool) {
	if a.ID == nil {
		return "", false
	}
	switch a.Method {
	case "server/discover":
		if era != "modern" && era != "two-faced" {
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, a.ID), true
		}
		return result(a.ID, `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"resultType":"complete"}`), true
	case "initialize":
		return result(a.ID, `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"raw","version":"0"}}`), true
	case "tools/list":
		if era == "two-faced" {
			return result(a.ID, fmt.Sprintf(`{"tools":[{"name":"as-of %s"}]}`, strings.Trim(string(a.Params.Meta["io.modelcontextprotocol/protocolVersion"]), `"`))), true
		}
		return result(a.ID, page(a.Params.Cursor)), true
	case "tools/call":
		return rawCall(a)
	}
	return result(a.ID, `{}`), true
}

func rawCall(a asked) (string, bool) {
	if bad := hostile[a.Params.Name]; bad != nil {
		return bad(a), true
	}
	switch a.Params.Name {
	case "give":
		n, _ := strconv.Atoi(string(a.Params.Arguments["n"]))
		return result(a.ID, corpus()[n]), true
	case "error":
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32050,"message":"no <b>","data":{"z":1e2,"a":[]}}}`, a.ID), true
	case "hang":
		return "", false
	}
	meta, _ := json.Marshal(a.Params.Meta)
	return result(a.ID, fmt.Sprintf(`{"meta":%s,"pid":%d,"ambient":%q}`, meta, os.Getpid(), ambient())), true
}

// ambient are the capabilities that a program which we start has too.
func ambient() string {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "CapAmb:")
	return strings.TrimLeft(strings.Fields(rest)[0], "0")
}

// perPage is how many definitions a raw server lists at a time.
const perPage = 37

func page(cursor string) string {
	from, _ := strconv.Atoi(cursor)
	all := corpus()
	to := min(from+perPage, len(all))
	next := ""
	if to < len(all) {
		next = fmt.Sprintf(`,"nextCursor":"%d"`, to)
	}
	return `{"tools":[` + strings.Join(all[from:to], ",") + "]" + next + "}"
}

// corpus is 240 objects that only careful readers hand on as they are: definitions and results with odd order, odd
// numbers, odd strings, odd space, and names that nobody knows.
var corpus = sync.OnceValue(func() []string {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]string, 240)
	for i := range out {
		out[i] = fmt.Sprintf(`{"x-before":%s, "name" : "tool_%d","content":[{"type":"image","data":"aGk=","mimeType":"image/png"},{"type":"resource_link","uri":"crm://%d"}],"inputSchema":{"type":"object","$schema":"https://json-schema.org/draft/2020-12/schema","properties":%s,"unevaluatedProperties":false,"$defs":%s},"description":%s,"structuredContent":%s,"zz":%s}`,
			odd(r, 3), i, i, object(r, 3), object(r, 2), words(r), object(r, 4), odd(r, 2))
	}
	return out
})

// odd writes a random value.
func odd(r *rand.Rand, depth int) string {
	scalars := []string{
		"1e2", "1E+2", "-0", "0.10", "9007199254740993", "123456789012345678901234567890", "1.7976931348623159e999", "true", "null", `""`, words(r),
	}
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

// object writes a random object whose names are in no order.
func object(r *rand.Rand, depth int) string {
	var b strings.Builder
	b.WriteString("{")
	for i := range r.IntN(6) {
		if i > 0 {
			b.WriteString(" ,")
		}
		fmt.Fprintf(&b, ` "%s%d":%s`, []string{"z", "$ref", "const", "é", "\\u0061", "x-mcp"}[r.IntN(6)], i, odd(r, max(depth, 1)-1))
	}
	return b.String() + "\r}"
}

// compact is what may change on the way.
func compact(s string) string {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		panic(err)
	}
	return b.String()
}

// rawHandler is a raw server over HTTP.
func rawHandler(era string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var a asked
		if r.Method != http.MethodPost || json.Unmarshal(body, &a) != nil {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		answer, ok := rawAnswer(a, era)
		switch {
		case a.ID == nil:
			w.WriteHeader(http.StatusAccepted)
		case !ok:
			<-r.Context().Done()
		case strings.Contains(string(a.Params.Arguments["as"]), "stream"):
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			for _, line := range []string{": hello", "event: message", "id: 1", "data:" + answer} {
				fmt.Fprintf(w, "%s\r\n", line)
			}
			fmt.Fprint(w, "\n")
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, answer)
		}
	})
}

// rawChild is a raw server over stdio; args name its era and its manners.
func rawChild(args []string) {
	manner := ""
	if len(args) > 1 {
		manner = args[1]
	}
	if manner == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
	}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if manner == "stubborn" {
				select {}
			}
			return
		}
		var a asked
		if json.Unmarshal(line, &a) != nil {
			continue
		}
		if a.Method == "" && answered != nil {
			answered()
		}
		if a.Method == "server/discover" {
			switch manner {
			case "silent":
				continue
			case "ends":
				return
			}
		}
		if act := acts[a.Params.Name]; a.Method == "tools/call" && act != nil {
			act(a)
			continue
		}
		if answer, ok := rawAnswer(a, args[0]); ok {
			fmt.Println(strings.ReplaceAll(answer, "\r", " "))
		}
	}
}

// told is how often a child says how far it is before it asks.
const told = 500

// answered is what a child does when its question was answered.
var answered func()

// acts are what a child can do besides answering.
var acts = map[string]func(a asked){
	"die": func(asked) { os.Exit(3) },
	"die after the answer": func(a asked) {
		fmt.Println(result(a.ID, `{"last":true}`))
		os.Exit(3)
	},
	"print": func(a asked) {
		fmt.Println("Server listening on stdio\n\n[debug] x")
		fmt.Println(result(a.ID, `{}`))
	},
	"endless": func(asked) {
		for {
			if _, err := fmt.Print(strings.Repeat("x", 4096)); err != nil {
				os.Exit(1)
			}
		}
	},
	"open": func(a asked) {
		target, _ := os.Readlink("/proc/self/fd/" + string(a.Params.Arguments["fd"]))
		fmt.Println(result(a.ID, string(fmt.Appendf(nil, `{"open":%q}`, target))))
	},
	"babble": func(a asked) {
		for range 1000 {
			fmt.Println("[debug] no message")
		}
		fmt.Println(result(a.ID, `{}`))
	},
	"stderr": func(a asked) {
		for i := range 500 {
			fmt.Fprintln(os.Stderr, "line", i, strings.Repeat("y", 5000))
		}
		fmt.Println(result(a.ID, `{}`))
	},
	"tell and ask": func(a asked) {
		for i := range told {
			fmt.Printf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d}}`+"\n", a.Params.Meta["progressToken"], i)
		}
		fmt.Println(`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"well?"}}`)
		answered = func() { fmt.Println(result(a.ID, `{}`)) }
	},
	"weigh": func(a asked) {
		fmt.Println(result(a.ID, fmt.Sprintf(`{"bytes":%d}`, len(a.Params.Arguments["x"]))))
	},
	"repeat": repeat,
	"fault":  repeat,
	"family": func(a asked) {
		cmd := exec.Command("/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done")
		if err := cmd.Start(); err != nil {
			os.Exit(4)
		}
		fmt.Println(result(a.ID, fmt.Sprintf(`{"pid":%d,"family":%d}`, os.Getpid(), cmd.Process.Pid)))
	},
}

// repeat says to everybody which credential it was given.
func repeat(a asked) {
	credential := os.Getenv("KEY")
	if sent := a.Params.Meta["hostedmcp/credential"]; sent != nil {
		_ = json.Unmarshal(sent, &credential)
	}
	fmt.Fprintln(os.Stderr, "called with", credential)
	note, answer := repeats(a, credential)
	fmt.Println(note)
	fmt.Println(answer)
}
