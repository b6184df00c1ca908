package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// keycloakCrash is crash against a real Keycloak, whose own events say who was in flight. Its realms are those of
// kc/realm.json: demo (refresh tokens stay valid), demo-reuse1 (one reuse) and demo-strict. It makes the users it needs
// and shortens the realms' access tokens, so it is for a Keycloak that is thrown away.
func keycloakCrash(r *run) error {
	if r.base == "" {
		return errors.New("-base: the URL of a running Keycloak (see .ci/crash-keycloak)")
	}
	cases := []struct {
		realm, mode string
		share       int // of the kills, in tenths: the next one of reuse waits for several refreshes
	}{{"demo", "none", 4}, {"demo", "reuse", 1}, {"demo-reuse1", "reuse", 1}, {"demo-strict", "strict", 4}}
	for _, k := range cases {
		if r.mode != "all" && r.mode != k.mode {
			continue
		}
		kc, err := r.newKeycloak(k.realm)
		if err != nil {
			return fmt.Errorf("%s: %w", k.realm, err)
		}
		c, err := r.attackOn(k.realm+"-"+k.mode, k.mode, kc, settings{
			issuer: "http://" + kc.proxy.address() + "/realms/" + k.realm, clientID: "hostedmcp", secret: "hostedmcp-test-secret",
		})
		if err == nil {
			err = c.attack(c.gatesAndChance(r.kills * k.share / 10))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", k.realm, err)
		}
	}
	return nil
}

// keycloak is a realm as witness. The proxy in front of it holds answers; everything else is asked of its
// administration API.
type keycloak struct {
	*proxy
	lives
	run   *run
	realm string
	ids   map[string]string // user → id
	begun time.Time

	signIn sync.Mutex
	token  string // of the administrator
	until  time.Time
}

func (r *run) newKeycloak(realm string) (*keycloak, error) {
	base, err := url.Parse(r.base)
	if err != nil {
		return nil, err
	}
	k := &keycloak{run: r, realm: realm, ids: map[string]string{}, begun: time.Now()}
	if k.proxy, err = r.newProxy(base.Host, func(token string) string { return token }); err != nil {
		return nil, err
	}
	if err := k.ask(http.MethodPut, "", map[string]any{
		// refreshes are not among the events that Keycloak keeps by default
		"eventsEnabled": true, "enabledEventTypes": []string{"REFRESH_TOKEN", "REFRESH_TOKEN_ERROR"},
		"eventsExpiration": 3600, "accessTokenLifespan": 2,
	}, nil); err != nil {
		return nil, err
	}
	for i := range r.clients + guestCount {
		if err := k.newUser(userName(i)); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (k *keycloak) newUser(name string) error {
	var found []struct{ ID string }
	search := "/users?exact=true&username=" + name
	if err := k.ask(http.MethodGet, search, nil, &found); err != nil {
		return err
	}
	if len(found) == 0 {
		if err := k.ask(http.MethodPost, "/users", map[string]any{
			"username": name, "enabled": true, "email": name + "@example.com", "emailVerified": true, "firstName": name, "lastName": "Test",
			"credentials": []any{map[string]any{"type": "password", "value": password, "temporary": false}},
		}, nil); err != nil {
			return err
		}
		if err := k.ask(http.MethodGet, search, nil, &found); err != nil {
			return err
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("no user %s", name)
	}
	k.ids[name] = found[0].ID
	return nil
}

// ask speaks to the administration API of the realm.
func (k *keycloak) ask(method, path string, body, into any) error {
	token, err := k.login()
	if err != nil {
		return err
	}
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, k.run.base+"/admin/realms/"+k.realm+path, send)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return fmt.Errorf("keycloak: %s %s: %s %s", method, path, res.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// login returns a token of the administrator, who gets one for a minute.
func (k *keycloak) login() (string, error) {
	k.signIn.Lock()
	defer k.signIn.Unlock()
	if time.Now().Before(k.until) {
		return k.token, nil
	}
	name, secret, _ := strings.Cut(k.run.admin, ":")
	res, err := http.PostForm(k.run.base+"/realms/master/protocol/openid-connect/token", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {name}, "password": {secret},
	})
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Token == "" {
		return "", fmt.Errorf("keycloak: the administrator cannot sign in: %s", res.Status)
	}
	k.token, k.until = answer.Token, time.Now().Add(30*time.Second)
	return k.token, nil
}

// event is what Keycloak remembers of one refresh.
type event struct {
	Time    int64  // ms
	Session string `json:"sessionId"`
	Details struct {
		Presented string `json:"refresh_token_id"`
		Updated   string `json:"updated_refresh_token_id"`
		Subject   string `json:"refresh_token_sub"`
	}
}

func (e event) at() time.Time { return time.UnixMilli(e.Time) }

// refreshes returns a user's refreshes since the campaign began, oldest first.
func (k *keycloak) refreshes(user string, most int) ([]event, error) {
	var all []event
	err := k.ask(http.MethodGet, fmt.Sprintf("/events?type=REFRESH_TOKEN&max=%d&user=%s", most, k.ids[user]), nil, &all)
	slices.Reverse(all)
	return k.recent(all), err
}

// refused returns the refreshes of some users that were refused, newest first. Such an event names its user only as the
// token's subject.
func (k *keycloak) refused(users ...string) (out []event, err error) {
	var all []event
	err = k.ask(http.MethodGet, "/events?type=REFRESH_TOKEN_ERROR&max=5000", nil, &all)
	for _, e := range k.recent(all) {
		if slices.ContainsFunc(users, func(u string) bool { return k.ids[u] == e.Details.Subject }) {
			out = append(out, e)
		}
	}
	return out, err
}

func (k *keycloak) recent(all []event) []event {
	return slices.DeleteFunc(all, func(e event) bool { return e.at().Before(k.begun) })
}

// proven implements witness: the last refresh that Keycloak carried out brought a token that never came back, the token
// spent by it came again and was refused, and the process was killed right after it.
func (k *keycloak) proven(user string) (age time.Duration, err error) {
	all, err := k.refreshes(user, 100)
	if err != nil {
		return 0, err
	}
	refused, err := k.refused(user)
	if err != nil || len(all) == 0 || len(refused) == 0 {
		return 0, fmt.Errorf("%d refreshes, %d refused %v", len(all), len(refused), err)
	}
	carried, no := all[len(all)-1], refused[0]
	switch {
	case no.at().Before(carried.at()) || no.Details.Presented != carried.Details.Presented:
		return 0, fmt.Errorf("what was spent at %s was not refused after that", carried.at())
	case slices.ContainsFunc(all, func(e event) bool { return e.Details.Presented == carried.Details.Updated }):
		return 0, fmt.Errorf("what was issued at %s was presented later: it had been stored", carried.at())
	}
	// when it was asked Keycloak does not say; on a loaded machine it answers a good while later
	for _, late := range []time.Duration{0, answerAge / 4, answerAge / 2, answerAge} {
		if age, err = k.inFlight(carried.at().Add(-late), carried.at()); err == nil {
			break
		}
	}
	return age, err
}

// unproven implements witness: a token issued since then has come back.
func (k *keycloak) unproven(users []string, since time.Time) (out []string) {
	for _, user := range users {
		all, err := k.refreshes(user, 20)
		if err != nil {
			k.run.violation("%v", err)
		}
		issued, proven := map[string]bool{}, false
		for _, e := range all {
			if e.at().After(since) {
				proven = proven || issued[e.Details.Presented]
				issued[e.Details.Updated] = true
			}
		}
		if !proven {
			out = append(out, user)
		}
	}
	return out
}

// refusals implements witness. A refusal whose answer a kill took away comes again: sessions are counted.
func (k *keycloak) refusals(users []string) int {
	refused, err := k.refused(users...)
	if err != nil {
		k.run.violation("%v", err)
	}
	sessions := map[string]bool{}
	for _, e := range refused {
		sessions[e.Session] = true
	}
	return len(sessions)
}
