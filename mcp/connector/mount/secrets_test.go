package mount_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/mount"
)

// repeats is what a server says that repeats credential, in strings and where a number only looks like it.
func repeats(a asked, credential string) (note, answer string) {
	text, _ := json.Marshal("got " + credential + " and \\u" + credential + "\\")
	slashed := strings.ReplaceAll(string(text), "/", `\/`)
	note = fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1,"message":%s}}`, a.Params.Meta["progressToken"], text)
	answer = result(a.ID, fmt.Sprintf(`{"text":%s,"slashed":%s,"other":"Bearer of others","n":1234567890}`, text, slashed))
	if a.Params.Name == "fault" {
		answer = fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32050,"message":%s,"data":[%s]}}`, a.ID, text, slashed)
	}
	return note, answer
}

// echoing is an HTTP server that repeats the credential of each call.
func echoing(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var a asked
	_ = json.Unmarshal(body, &a)
	w.Header().Set("Content-Type", "application/json")
	if a.Method != "tools/call" {
		answer, _ := rawAnswer(a, "modern")
		fmt.Fprint(w, answer)
		return
	}
	note, answer := repeats(a, r.Header.Get("Authorization"))
	if string(a.Params.Arguments["as"]) == `"stream"` {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: %s\n\ndata: %s\n\n", note, answer)
		return
	}
	fmt.Fprint(w, answer)
}

// A credential that a server repeats reaches neither the client nor the log: it may be the organisation's. All else
// stays as it is.
func TestRepeatedCredential(t *testing.T) {
	const shared = `Bearer s3cr3t/of<ours>"1`
	site := newSite(t, http.HandlerFunc(echoing))
	for name, m := range map[string]*mounted{
		"http static": newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: site.URL, Credential: connector.CredentialStatic, SecretFile: "x"},
			func(o *mount.Options) { o.Secret = shared }),
		"http user":  newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: site.URL, Credential: connector.CredentialUser}, nil),
		"stdio user": newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "modern"), Credential: connector.CredentialUser}, nil),
		"stdio static": newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "modern"), Credential: connector.CredentialStatic, Header: "KEY", SecretFile: "x"},
			func(o *mount.Options) { o.Secret = shared }),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, c := bounded(t), newClient()
			call := by("alice", "", c)
			call.Credential = bearer(func() string { return strings.TrimPrefix(shared, "Bearer ") })
			for _, as := range []string{"plain", "stream"} {
				arguments := fmt.Sprintf(`{"as":%q}`, as)
				got := m.do(ctx, tool(call, "repeat", arguments, `{"progressToken":"t"}`))
				e := m.fails(ctx, tool(call, "fault", arguments, `{"progressToken":"t"}`))
				want := `"got Bearer [hidden] and \\uBearer [hidden]\\"`
				if got != `{"text":`+want+`,"slashed":`+want+`,"other":"Bearer of others","n":1234567890}` {
					t.Errorf("result %s", got)
				}
				if e.Message != `got Bearer [hidden] and \uBearer [hidden]\` || string(e.Data) != "["+want+"]" {
					t.Errorf("error %q %s", e.Message, e.Data)
				}
			}
			notes := strings.Join(c.of("notifications/progress"), "")
			if !strings.Contains(notes, "[hidden]") || strings.Contains(notes+m.log.String(), "s3cr3t") {
				t.Errorf("notifications %s\nlog %s", notes, m.log)
			}
		})
	}
}

// What looks like a credential only outside of strings, or is too short to be one, is not touched.
func TestNoCredential(t *testing.T) {
	for _, secret := range []oauth.Secret{"1234567890", "others"} {
		m := newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: newSite(t, http.HandlerFunc(echoing)).URL, Credential: connector.CredentialStatic, SecretFile: "x"},
			func(o *mount.Options) { o.Secret = secret })
		if got := m.do(bounded(t), tool(by("alice", "", nil), "repeat", `{}`, "")); !strings.Contains(got, `"other":"Bearer of others","n":1234567890}`) {
			t.Error(got)
		}
	}
}
