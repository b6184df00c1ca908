package demo_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"golang.org/x/oauth2"

	"hostedmcp/auth/demo"
)

// crmSum is the document's SHA-256. Configurations pin it: after a change of the document write the new one here and in
// config.example.toml.
const crmSum = "ddcd655d0b5c8e4c69142e5cbd076928cc9b2c11ff4d2793c146579462349ef2"

// crmSite is a demo provider with a clock and two people who are signed in.
type crmSite struct {
	*site
	now        atomic.Int64 // Unix seconds
	alice, bob string       // access tokens
}

func newCRMSite(t *testing.T) *crmSite {
	t.Helper()
	c := &crmSite{}
	c.now.Store(time.Now().Unix())
	c.site = newSite(t, func(o *demo.Options) { o.Now = func() time.Time { return time.Unix(c.now.Load(), 0) } })
	c.alice, c.bob = c.loginAs("alice"), c.loginAs("bob")
	return c
}

func (s *site) loginAs(name string) string {
	s.t.Helper()
	b, v := newBrowser(s.t), oauth2.GenerateVerifier()
	token := s.form(b, s.authURL(v), func() {})
	res, body := b.post(s.issuer+"/login", url.Values{"token": {token}, "username": {name}, "password": {name + "-pw"}})
	if res.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("sign-in: %d %s", res.StatusCode, body)
	}
	res, _ = b.get(s.issuer + res.Header.Get("Location"))
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil {
		s.t.Fatal(err)
	}
	tok, err := s.exchange(to.Query().Get("code"), v)
	if err != nil {
		s.t.Fatal(err)
	}
	return tok.AccessToken
}

// ask calls the API; a body makes it JSON.
func (s *site) ask(token, method, path, body string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.issuer+"/crm/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return newBrowser(s.t).do(req, nil)
}

// record is any record or page.
type record map[string]any

func (r record) items() (out []record) {
	for _, i := range r["items"].([]any) {
		out = append(out, i.(map[string]any))
	}
	return out
}

// read asks for what must be there.
func (s *site) read(token, path string) (r record) {
	s.t.Helper()
	res, body := s.ask(token, "GET", path, "")
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/json" {
		s.t.Fatalf("%s: %d %s", path, res.StatusCode, body)
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// all walks through every page.
func (s *site) all(token, list string) (out []record) {
	s.t.Helper()
	next := ""
	for range 100 {
		page := s.read(token, list+next)
		out = append(out, page.items()...)
		cursor, more := page["next_cursor"].(string)
		if !more {
			if float64(len(out)) != page["total"] {
				s.t.Errorf("%s: %d records of %v", list, len(out), page["total"])
			}
			return out
		}
		sep := "?"
		if strings.Contains(list, "?") {
			sep = "&"
		}
		next = sep + "cursor=" + cursor
	}
	s.t.Fatalf("%s: never ends", list)
	return nil
}

// wantProblem: an error is a problem document (RFC 9457 §3) that says what to change.
func (s *site) wantProblem(token, method, path, body string, status int, says string) *http.Response {
	s.t.Helper()
	res, text := s.ask(token, method, path, body)
	var p struct {
		Title, Detail string
		Status        int
	}
	err := json.Unmarshal([]byte(text), &p)
	if err != nil || res.StatusCode != status || p.Status != status || p.Title == "" ||
		res.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(p.Detail, says) {
		s.t.Errorf("%s %s %s: %d %s, want %d with %q", method, path, body, res.StatusCode, text, status, says)
	}
	return res
}

// TestCRMDocument: the document is public, the same bytes wherever and for whomever it is served, and says of
// everything what an agent must know.
func TestCRMDocument(t *testing.T) {
	s := newSite(t)
	other := newSite(t, func(o *demo.Options) { o.Key = bytes.Repeat([]byte{8}, 32) })
	res, body := s.ask("", "GET", "openapi.json", "")
	if _, again := other.ask("", "GET", "openapi.json", ""); res.StatusCode != http.StatusOK || again != body || strings.Contains(body, s.issuer) {
		t.Errorf("%d, the same elsewhere: %v", res.StatusCode, again == body)
	}
	if sum := sha256.Sum256([]byte(body)); hex.EncodeToString(sum[:]) != crmSum {
		t.Errorf("the document's SHA-256 is %x", sum)
	}
	if demo.CRMDocumentPath != "/crm/openapi.json" {
		t.Error(demo.CRMDocumentPath)
	}
	d := readDocument(t, body)
	for path, methods := range d.Paths {
		for method, o := range methods {
			if len(o.Description) < 25 || o.OperationID == "" || o.Summary == "" || o.Responses["401"] == nil {
				t.Errorf("%s %s: %+v", method, path, o)
			}
			for _, p := range o.Parameters {
				if p = d.parameter(p); len(p.Description) < 10 || p.Schema == nil {
					t.Errorf("%s %s: parameter %+v", method, path, p)
				}
			}
		}
	}
}

// document is what the tests read of OpenAPI 3.1.
type document struct {
	Paths      map[string]map[string]operation
	Components struct {
		Parameters map[string]parameter
		Schemas    map[string]json.RawMessage
	}
}

type operation struct {
	OperationID, Summary, Description string
	Parameters                        []parameter
	Responses                         map[string]json.RawMessage
}

type parameter struct {
	Ref               string `json:"$ref"`
	Name, Description string
	Schema            json.RawMessage
}

func readDocument(t *testing.T, text string) (d document) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d document) parameter(p parameter) parameter {
	if p.Ref == "" {
		return p
	}
	return d.Components.Parameters[p.Ref[strings.LastIndex(p.Ref, "/")+1:]]
}

// conforms checks an answer against the schema that the document has for it.
func (d document) conforms(t *testing.T, path, method, status, answer string) {
	t.Helper()
	var response struct {
		Content map[string]struct{ Schema json.RawMessage }
	}
	if err := json.Unmarshal(d.Paths[path][method].Responses[status], &response); err != nil {
		t.Fatalf("%s %s %s is not in the document: %v", method, path, status, err)
	}
	defs, err := json.Marshal(d.Components.Schemas)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"$defs":%s,"allOf":[%s]}`, defs, response.Content["application/json"].Schema)
	var schema jsonschema.Schema
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "#/components/schemas/", "#/$defs/")), &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal([]byte(answer), &value); err != nil {
		t.Fatal(err)
	}
	if err := resolved.Validate(value); err != nil {
		t.Errorf("%s %s: %v\n%.600s", method, path, err, answer)
	}
}

// TestCRMContract: every operation of the document is served, and what it answers is what its schema says.
func TestCRMContract(t *testing.T) {
	s := newCRMSite(t)
	_, text := s.ask("", "GET", "openapi.json", "")
	d := readDocument(t, text)
	account := s.read(s.alice, "accounts").items()[0]["id"].(string)
	contact := s.read(s.alice, "contacts?account_id="+account).items()[0]["id"].(string)
	deal := s.read(s.alice, "deals?open=true").items()[0]["id"].(string)
	made := fmt.Sprintf(`{"kind":"note","subject":"s","account_id":"%s","contact_id":"%s"}`, account, contact)
	ids := strings.NewReplacer("{account_id}", account, "{contact_id}", contact, "{deal_id}", deal)
	for path, methods := range d.Paths {
		for method := range methods {
			body, status := map[string]string{"post": made, "patch": `{"next_step":"call"}`}[method], "200"
			if method == "post" {
				status = "201"
			}
			res, answer := s.ask(s.alice, strings.ToUpper(method), ids.Replace(path[1:]), body)
			if fmt.Sprint(res.StatusCode) != status {
				t.Errorf("%s %s: %d %s", method, path, res.StatusCode, answer)
				continue
			}
			d.conforms(t, path, method, status, answer)
		}
	}
	for list, path := range map[string]string{"accounts": "/accounts", "contacts": "/contacts", "deals": "/deals", "activities": "/activities"} {
		_, answer := s.ask(s.alice, "GET", list+"?limit=100", "")
		d.conforms(t, path, "get", "200", answer)
	}
}

// TestCRMQuestion: "which of my deals close this month?" has answers on every day of the calendar, of which some are
// open; so have the deals of a year ago and of a year ahead none.
func TestCRMQuestion(t *testing.T) {
	s := newCRMSite(t)
	for _, today := range []string{"2026-01-01", "2026-02-28", "2026-03-31", "2026-11-23", "2027-12-31", "2028-02-29", "2030-06-15"} {
		at, err := time.Parse(time.DateOnly, today)
		if err != nil {
			t.Fatal(err)
		}
		s.now.Store(at.Add(23 * time.Hour).Unix())
		first, last := at.Format("2006-01")+"-01", at.AddDate(0, 1, -at.Day()).Format(time.DateOnly)
		for name, token := range map[string]string{"alice": s.alice, "bob": s.bob} {
			open := s.all(token, "deals?open=true&close_from="+first+"&close_to="+last)
			if len(open) < 5 || len(open) > 12 {
				t.Errorf("%s on %s: %d open deals close in %s..%s", name, today, len(open), first, last)
			}
			for _, d := range open {
				if c := d["close_date"].(string); c < first || c > last || d["stage"] == "won" || d["stage"] == "lost" || d["created"].(string) > today {
					t.Errorf("%s on %s: %v", name, today, d)
				}
			}
			if far := s.all(token, "deals?close_from="+at.AddDate(1, 0, 0).Format(time.DateOnly)); len(far) > 0 {
				t.Errorf("%d deals in a year", len(far))
			}
			for _, d := range s.all(token, "deals?open=true&close_to="+at.AddDate(0, -1, -at.Day()).Format(time.DateOnly)) {
				t.Errorf("%s on %s: open though long past: %v", name, today, d)
			}
			if recent := s.all(token, "activities?to="+today); len(recent) != 160 {
				t.Errorf("%d activities up to %s: some are to come", len(recent), today)
			}
		}
	}
}

// TestCRMOwn: each user has records of their own, and to the other they are not there, to be read or written.
func TestCRMOwn(t *testing.T) {
	s := newCRMSite(t)
	bobs := map[string]bool{}
	total := 0
	for _, list := range []string{"accounts", "contacts", "deals", "activities"} {
		for _, r := range s.all(s.bob, list+"?limit=100") {
			bobs[r["id"].(string)] = true
		}
		mine := s.all(s.alice, list+"?limit=100")
		for _, r := range mine {
			total++
			if bobs[r["id"].(string)] {
				t.Errorf("%v is both alice's and bob's", r["id"])
			}
		}
	}
	if total < 300 || total > 500 || len(bobs) != total {
		t.Errorf("alice has %d records, bob %d: a few hundred each", total, len(bobs))
	}
	account := s.read(s.alice, "accounts").items()[0]["id"].(string)
	deal := s.read(s.alice, "deals?open=true").items()[0]["id"].(string)
	contact := s.read(s.alice, "contacts").items()[0]["id"].(string)
	for _, path := range []string{"accounts/" + account, "deals/" + deal, "contacts/" + contact} {
		s.wantProblem(s.bob, "GET", path, "", http.StatusNotFound, "no such")
	}
	s.wantProblem(s.bob, "PATCH", "deals/"+deal, `{"stage":"lost"}`, http.StatusNotFound, "no such deal")
	s.wantProblem(s.bob, "POST", "activities", `{"kind":"call","subject":"x","account_id":"`+account+`"}`, http.StatusNotFound, "no such account")
	if got := s.read(s.bob, "deals?account_id="+account)["total"]; got != 0.0 {
		t.Errorf("bob sees %v deals of alice's account", got)
	}
	if res, body := s.ask(s.alice, "POST", "activities", `{"kind":"call","subject":"only mine","account_id":"`+account+`"}`); res.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if got := s.read(s.bob, "activities?q=only+mine")["total"]; got != 0.0 {
		t.Errorf("bob sees %v activities of alice", got)
	}
}

// TestCRMToken: only a living access token of this provider opens the CRM, in the Authorization header (RFC 6750 §2.1);
// everything else is a 401 with a challenge, whatever path was asked for.
func TestCRMToken(t *testing.T) {
	s := newCRMSite(t)
	stranger := newSite(t, func(o *demo.Options) { o.Key = bytes.Repeat([]byte{8}, 32) })
	tok := s.login()
	idToken, _ := tok.Extra("id_token").(string)
	for name, token := range map[string]string{"none": "", "garbage": "x.y.z", "another provider's": stranger.loginAs("alice"),
		"id_token": idToken, "refresh token": tok.RefreshToken} {
		for _, path := range []string{"accounts", "deals/deal_00000000", "nothing", "", "accounts?access_token=" + tok.AccessToken} {
			res := s.wantProblem(token, "GET", path, "", http.StatusUnauthorized, "access token")
			if !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: no challenge", name)
			}
		}
	}
	s.read(tok.AccessToken, "accounts")
	secret, _ := demo.ClientSecret(s.opts.Key)
	res, err := http.PostForm(s.issuer+"/revoke", url.Values{"token": {tok.RefreshToken}, "client_id": {demo.ClientID}, "client_secret": {secret.Reveal()}})
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("revoke: %v %v", res, err)
	}
	res.Body.Close()
	s.wantProblem(tok.AccessToken, "GET", "accounts", "", http.StatusUnauthorized, "access token")
}

// TestCRMBad: what cannot be meant is refused with a word on what to change.
func TestCRMBad(t *testing.T) {
	s := newCRMSite(t)
	for path, says := range map[string]string{
		"deals?closes=2026-01-01":                      `no parameter "closes"`,
		"deals?close_from=2026-02-30":                  "close_from is no day",
		"deals?close_from=2026-2-3":                    "close_from is no day",
		"deals?stage=signed":                           "stage is none of qualification",
		"deals?stage=won&stage=x":                      "stage is none of",
		"deals?open=yes":                               "open is none of true, false",
		"deals?open=true&open=true":                    "open is there twice",
		"deals?limit=0":                                "limit is no whole number from 1 to 100",
		"deals?limit=101":                              "limit is no whole number",
		"deals?min_amount=-1":                          "min_amount is no whole number",
		"deals?cursor=x":                               "cursor is not of this list",
		"deals?q=":                                     "q is empty",
		"accounts?industry=Energy&limit=x":             "industry is none of",
		"pipeline?limit=3":                             `no parameter "limit"`,
		"accounts/acc_00000000?fields=all":             `no parameter "fields"`,
		"activities?kind=visit&from=tomorrow&to=today": "from is no day: write YYYY-MM-DD; kind is none of call, email, meeting, note; to is no day",
		"accounts?q=%zz":                               "cannot be read",
	} {
		s.wantProblem(s.alice, "GET", path, "", http.StatusBadRequest, says)
	}
	for _, path := range []string{"nothing", "", "accounts/x/y", "accounts/", "deals/../deals/x"} {
		res, body := s.ask(s.alice, "GET", path, "")
		if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	for path, allow := range map[string]string{"accounts": "GET", "deals/deal_00000000": "GET, PATCH", "activities": "GET, POST"} {
		if res := s.wantProblem(s.alice, "DELETE", path, "", http.StatusMethodNotAllowed, "another method"); res.Header.Get("Allow") != allow {
			t.Errorf("%s: Allow %q", path, res.Header.Get("Allow"))
		}
	}
}

// TestCRMPages: all pages together are the list, once each, in order, with filters; a cursor belongs to its filters.
func TestCRMPages(t *testing.T) {
	s := newCRMSite(t)
	whole, pages := s.all(s.alice, "deals?limit=100"), s.all(s.alice, "deals?limit=7")
	if len(whole) != 64 || fmt.Sprint(whole) != fmt.Sprint(pages) {
		t.Errorf("%d records in one page, %d in many", len(whole), len(pages))
	}
	if !slices.IsSortedFunc(whole, func(a, b record) int { return strings.Compare(a["close_date"].(string), b["close_date"].(string)) }) {
		t.Error("deals are not ordered by close date")
	}
	won := s.all(s.alice, "deals?stage=won&stage=lost&limit=5")
	closed := s.all(s.alice, "deals?open=false")
	if len(won) == 0 || fmt.Sprint(won) != fmt.Sprint(closed) {
		t.Errorf("%d won or lost, %d not open", len(won), len(closed))
	}
	cursor := s.read(s.alice, "deals?limit=3")["next_cursor"].(string)
	s.wantProblem(s.alice, "GET", "deals?min_amount=1&cursor="+cursor, "", http.StatusBadRequest, "cursor is not of this list")
	s.wantProblem(s.bob, "GET", "deals?cursor="+cursor, "", http.StatusBadRequest, "cursor is not of this list")

	// what is written between two pages moves nobody to another page
	first := s.read(s.alice, "activities?limit=5")
	account := first.items()[0]["account_id"].(string)
	s.ask(s.alice, "POST", "activities", `{"kind":"note","subject":"between","account_id":"`+account+`"}`)
	second := s.read(s.alice, "activities?limit=5&cursor="+first["next_cursor"].(string))
	for _, r := range second.items() {
		if slices.ContainsFunc(first.items(), func(f record) bool { return f["id"] == r["id"] }) {
			t.Errorf("%v is on both pages", r["id"])
		}
	}
	// every word counts, in any order and case
	name := strings.Fields(s.read(s.alice, "accounts").items()[0]["name"].(string))
	if got := s.read(s.alice, "accounts?q="+url.QueryEscape(strings.ToUpper(name[1])+" "+name[0])); got["total"] == 0.0 || got["total"] == 48.0 {
		t.Errorf("q found %v accounts", got["total"])
	}
}

// TestCRMStable: the same records after every start and under every key; from one day to the next only dates move.
func TestCRMStable(t *testing.T) {
	s := newCRMSite(t)
	s.now.Store(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC).Unix())
	before := s.all(s.alice, "deals?limit=100")
	other := newSite(t, func(o *demo.Options) {
		o.Key, o.Now = bytes.Repeat([]byte{8}, 32), func() time.Time { return time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC) }
	})
	s.restart()
	if after := s.all(s.alice, "deals?limit=100"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("a restart changed the deals")
	}
	if there := other.all(other.loginAs("alice"), "deals?limit=100"); fmt.Sprint(there) != fmt.Sprint(before) {
		t.Error("another key changed the deals")
	}
	s.now.Store(time.Date(2026, 12, 24, 8, 0, 0, 0, time.UTC).Unix())
	after := s.all(s.alice, "deals?limit=100")
	for i := range after {
		later := after[i]
		sooner := before[slices.IndexFunc(before, func(r record) bool { return r["id"] == later["id"] })]
		if later["close_date"] == sooner["close_date"] || later["name"] != sooner["name"] || later["amount"] != sooner["amount"] || later["stage"] != sooner["stage"] {
			t.Errorf("%v became %v", sooner, later)
		}
	}
}

// TestCRMWrites: what is written is seen everywhere at once, only what may be written is, and a restart forgets it.
func TestCRMWrites(t *testing.T) {
	s := newCRMSite(t)
	deal := s.read(s.alice, "deals?stage=negotiation").items()[0]
	id, account := deal["id"].(string), deal["account_id"].(string)
	wonBefore := s.read(s.alice, "pipeline")["stages"].([]any)[4].(map[string]any)["amount"].(float64)
	if res, body := s.ask(s.alice, "PATCH", "deals/"+id, `{"stage":"won","close_date":"2026-11-30"}`); res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	now := s.read(s.alice, "deals/"+id)
	if now["stage"] != "won" || now["probability"] != 100.0 || now["close_date"] != "2026-11-30" || now["next_step"] != nil || now["amount"] != deal["amount"] {
		t.Errorf("%v", now)
	}
	if won := s.read(s.alice, "pipeline")["stages"].([]any)[4].(map[string]any)["amount"].(float64); won != wonBefore+deal["amount"].(float64) {
		t.Errorf("the pipeline has %v won, before %v", won, wonBefore)
	}
	elsewhere := s.read(s.alice, "contacts?limit=100").items()
	other := elsewhere[slices.IndexFunc(elsewhere, func(r record) bool { return r["account_id"] != account })]
	stranger, foreign := other["id"].(string), other["account_id"].(string)
	for body, want := range map[string]struct {
		status int
		says   string
	}{
		`{"kind":"call","subject":"s","account_id":"` + account + `","deal_id":"deal_00000000"}`:       {404, "no such deal"},
		`{"kind":"call","subject":"s","account_id":"` + account + `","contact_id":"` + stranger + `"}`: {404, "no such contact"},
		`{"kind":"call","subject":"s","account_id":"` + foreign + `","deal_id":"` + id + `"}`:          {404, "no such deal"},
		`{"kind":"call","subject":"s","account_id":"acc_00000000"}`:                                    {404, "no such account"},
		`{"kind":"visit","account_id":"` + account + `"}`:                                              {400, "kind is none of call, email, meeting, note; subject is missing"},
		`{"kind":"call","subject":7,"account_id":"` + account + `"}`:                                   {400, "subject is no string"},
		`{"kind":"call","subject":"s","account_id":"` + account + `","date":"2020-01-01"}`:             {400, `no member "date"`},
		`{"kind":"call","subject":"` + strings.Repeat("ä", 201) + `","account_id":"` + account + `"}`:  {400, "more than 200"},
		`{"kind":"call","kind":"note"}`:                                                                {400, "can be read"},
		`[]`:                                                                                           {400, "can be read"},
		strings.Repeat(" ", 17<<10):                                                                    {413, "at most 16384"},
	} {
		s.wantProblem(s.alice, "POST", "activities", body, want.status, want.says)
	}
	for body, says := range map[string]string{`{}`: "at least one", `{"amount":1}`: `no member "amount"`, `{"stage":"done"}`: "stage is none of",
		`{"close_date":"30.11.2026"}`: "close_date is no day", `{"next_step":null}`: "no string", `{"next_step":""}`: "is empty"} {
		s.wantProblem(s.alice, "PATCH", "deals/"+id, body, http.StatusBadRequest, says)
	}
	if after := s.read(s.alice, "deals/"+id); fmt.Sprint(after) != fmt.Sprint(now) {
		t.Errorf("refused changes were made: %v", after)
	}
	req, _ := http.NewRequest("POST", s.issuer+"/crm/activities", strings.NewReader(`{}`))
	req.Header.Set("Authorization", "Bearer "+s.alice)
	if res, body := newBrowser(t).do(req, nil); res.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("without a media type: %d %s", res.StatusCode, body)
	}
	if res, body := s.ask(s.alice, "POST", "activities", `{"kind":"note","subject":"`+strings.Repeat("ä", 200)+`","account_id":"`+account+`"}`); res.StatusCode != http.StatusCreated {
		t.Errorf("200 characters: %d %s", res.StatusCode, body)
	}
	// a change leaves the one before it as it is
	open := s.read(s.alice, "deals?stage=proposal").items()[0]["id"].(string)
	for _, change := range []string{`{"next_step":"call Rosa"}`, `{"close_date":"2031-01-02"}`, `{"stage":"negotiation"}`} {
		s.ask(s.alice, "PATCH", "deals/"+open, change)
	}
	if d := s.read(s.alice, "deals/"+open); d["next_step"] != "call Rosa" || d["close_date"] != "2031-01-02" || d["probability"] != 75.0 {
		t.Errorf("three changes made %v", d)
	}
	for i := range 203 {
		if res, body := s.ask(s.alice, "POST", "activities", fmt.Sprintf(`{"kind":"note","subject":"logged %03d","account_id":"%s"}`, i, account)); res.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
	}
	logged := s.all(s.alice, "activities?q=logged&limit=100")
	if len(logged) != 200 || slices.ContainsFunc(logged, func(r record) bool { return r["subject"] == "logged 002" }) {
		t.Errorf("%d logged activities are remembered", len(logged))
	}
	s.restart()
	if n := s.read(s.alice, "activities?q=logged")["total"]; n != 0.0 || s.read(s.alice, "deals/"+id)["stage"] != "negotiation" {
		t.Errorf("%v activities after a restart", n)
	}
}
