package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What becomes of a replaced signing key: its tokens are good until it retires, and not an instant after it.

// replaced is a signing key of before, with a token that it signed.
type replaced struct {
	key    string
	client *client
	retire time.Time
}

// retireMost is how long a replaced key may stay: the life of its tokens, and what clocks may differ by.
const retireMost = rotationTTL + 3*time.Minute

// replaceSigning makes a new signing key, and holds a token of the old one against it.
func (o *rotating) replaceSigning() (replaced, error) {
	probe, err := o.probe()
	if err != nil {
		return replaced{}, err
	}
	said, err := o.insist("signing")
	if err != nil {
		return replaced{}, err
	}
	was := replaced{kid(probe.Access), probe, said.Retire}
	if v, a, err := probe.call("whoami"); v != worked && time.Now().Before(probe.expires) {
		o.violation("a token of the replaced signing key: %s, %v", a, err)
	}
	fresh, err := o.probe()
	if err != nil {
		return was, err
	}
	if now := kid(fresh.Access); now != said.ID || now == was.key {
		o.violation("rotated from %s to %s, but tokens are signed by %s", was.key, said.ID, now)
	}
	published, err := o.published()
	if !slices.Contains(published, said.ID) || !slices.Contains(published, was.key) {
		o.violation("published are %v, must be %s and %s", published, said.ID, was.key)
	}
	if left := time.Until(said.Retire); left < time.Until(probe.expires) || left > retireMost {
		o.violation("the replaced key retires in %s, its tokens live %s", left, rotationTTL)
	}
	return was, err
}

// retires waits until a replaced key has retired: nothing of it is published or accepted.
func (o *rotating) retires(was replaced) {
	o.say("waiting %s for the first signing key to retire", max(0, time.Until(was.retire)).Round(time.Second))
	time.Sleep(time.Until(was.retire) + time.Second)
	if published, err := o.published(); err != nil || slices.Contains(published, was.key) {
		o.violation("%s has retired, but is published: %v, %v", was.key, published, err)
	}
	if a, err := was.client.post("whoami"); err != nil || a.status != http.StatusUnauthorized {
		o.violation("a token of the retired signing key: %s, %v", a, err)
	}
}

// kid returns the key that a JWT names.
func kid(token string) string {
	head, _, _ := strings.Cut(token, ".")
	var h struct{ Kid string }
	_ = json.Unmarshal(decoded(head), &h) // no kid: it equals nothing that is expected
	return h.Kid
}

// published returns the names of the keys in the JWKS.
func (o *rotating) published() (out []string, err error) {
	res, err := http.Get(o.server.url + "/jwks")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var set struct{ Keys []struct{ Kid string } }
	err = json.NewDecoder(res.Body).Decode(&set)
	for _, k := range set.Keys {
		out = append(out, k.Kid)
	}
	return out, err
}
