package demo_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/demo"
)

// TestCRMFilters: each filter keeps exactly the records that fit it.
func TestCRMFilters(t *testing.T) {
	s := newCRMSite(t)
	whole := map[string][]record{}
	for _, list := range []string{"accounts", "contacts", "deals", "activities"} {
		whole[list] = s.all(s.alice, list+"?limit=100")
	}
	equal := func(name, value string) func(record) bool { return func(r record) bool { return r[name] == value } }
	account := whole["accounts"][3]
	aDeal := whole["deals"][30]
	closes, of := aDeal["close_date"].(string), aDeal["account_id"].(string)
	spoken := whole["activities"][slices.IndexFunc(whole["activities"], func(r record) bool { return r["deal_id"] != nil })]
	about, with, when := spoken["deal_id"].(string), spoken["contact_id"].(string), spoken["date"].(string)
	for query, fits := range map[string]func(record) bool{
		"accounts?industry=" + account["industry"].(string): equal("industry", account["industry"].(string)),
		"accounts?country=" + account["country"].(string):   equal("country", account["country"].(string)),
		"contacts?account_id=" + of:                         equal("account_id", of),
		"deals?account_id=" + of:                            equal("account_id", of),
		"deals?min_amount=50000":                            func(r record) bool { return r["amount"].(float64) >= 50000 },
		"deals?close_from=" + closes:                        func(r record) bool { return r["close_date"].(string) >= closes },
		"deals?close_to=" + closes:                          func(r record) bool { return r["close_date"].(string) <= closes },
		"deals?open=true":                                   func(r record) bool { return r["stage"] != "won" && r["stage"] != "lost" },
		"deals?stage=proposal":                              equal("stage", "proposal"),
		"activities?deal_id=" + about:                       equal("deal_id", about),
		"activities?contact_id=" + with:                     equal("contact_id", with),
		"activities?kind=meeting":                           equal("kind", "meeting"),
		"activities?from=" + when + "&to=" + when:           equal("date", when),
		"activities?account_id=" + of + "&q=CALL": func(r record) bool {
			return r["account_id"] == of && strings.Contains(strings.ToLower(fmt.Sprint(r["subject"], r["text"], r["account_name"])), "call")
		},
	} {
		list, _, _ := strings.Cut(query, "?")
		got := s.all(s.alice, query+"&limit=100")
		want := slices.DeleteFunc(slices.Clone(whole[list]), func(r record) bool { return !fits(r) })
		if fmt.Sprint(got) != fmt.Sprint(want) || len(want) == len(whole[list]) {
			t.Errorf("%s: %d records, want %d of %d", query, len(got), len(want), len(whole[list]))
		}
	}
	if !slices.IsSortedFunc(whole["activities"], func(a, b record) int { return strings.Compare(b["date"].(string), a["date"].(string)) }) {
		t.Error("the newest activity is not first")
	}
	others := s.all(s.bob, "accounts?limit=100")
	if same := fmt.Sprint(others[0]["name"], others[1]["name"]); same == fmt.Sprint(whole["accounts"][0]["name"], whole["accounts"][1]["name"]) {
		t.Error("bob's accounts are alice's under other ids")
	}
}

// TestCRMPipeline: the sums are those of the list.
func TestCRMPipeline(t *testing.T) {
	s := newCRMSite(t)
	const period = "close_from=2020-01-01&close_to=2100-01-01"
	for _, filter := range []string{"", period, "close_from=" + time.Unix(s.now.Load(), 0).UTC().Format(time.DateOnly)} {
		sums := map[string][3]float64{}
		for _, d := range s.all(s.alice, "deals?limit=100&"+filter) {
			sum, amount := sums[d["stage"].(string)], d["amount"].(float64)
			sums[d["stage"].(string)] = [3]float64{sum[0] + 1, sum[1] + amount, sum[2] + amount*d["probability"].(float64)}
		}
		var order []string
		for _, one := range s.read(s.alice, "pipeline?"+filter)["stages"].([]any) {
			got := one.(map[string]any)
			stage := got["stage"].(string)
			order = append(order, stage)
			want := sums[stage]
			if got["deals"] != want[0] || got["amount"] != want[1] || got["weighted"] != float64(int(want[2])/100) {
				t.Errorf("%q %v, want %v", filter, got, want)
			}
		}
		if strings.Join(order, " ") != "qualification discovery proposal negotiation won lost" {
			t.Errorf("stages %q", order)
		}
	}
}

// TestCRMAudience: a token that this provider signed for somebody else, or as somebody else, opens nothing (RFC 9068 §4).
func TestCRMAudience(t *testing.T) {
	s := newCRMSite(t)
	p, err := demo.New(s.opts)
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]any{"iss": s.issuer, "aud": []string{demo.ClientID}, "sub": p.Subject("alice"), "jti": "session.1",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
	for name, change := range map[string]map[string]any{
		"good": nil, "audience": {"aud": []string{"another-client"}}, "no audience": {"aud": nil}, "issuer": {"iss": "http://127.0.0.1:1"},
		"expired": {"exp": time.Now().Add(-time.Hour).Unix()}, "no jti": {"jti": ""}, "nobody": {"sub": "nobody"},
	} {
		claims := map[string]any{}
		for k, v := range good {
			claims[k] = v
		}
		for k, v := range change {
			claims[k] = v
		}
		token, err := p.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		want := http.StatusUnauthorized
		if change == nil {
			want = http.StatusOK
		}
		if res, body := s.ask(token, "GET", "accounts", ""); res.StatusCode != want {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
}
