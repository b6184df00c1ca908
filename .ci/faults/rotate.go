package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"hostedmcp/auth/authtest"
)

// rotate replaces each key again and again under load, and kills the server in the middle of it: at random, or
// (-strace) at a system call. Whatever was cut off, the server starts again, everybody goes on, and the rotation is done
// by beginning it anew. Of each finished one it is shown that the old key is good for nothing:
//
//	master    it opens neither the file nor a backup made since, and can be removed
//	data      no value names it any longer (rotated.go)
//	signing   its tokens are accepted until it is retired, then it is neither published nor accepted
func rotate(r *run) error {
	o := &rotating{run: r, ledger: newLedger(), struck: map[string]int{}}
	if err := o.set(); err != nil {
		return err
	}
	o.fleet.begin()
	o.guests.begin()
	// the first replaced key retires while the others are replaced
	first, err := o.replaceSigning()
	if err != nil {
		return err
	}
	for i := range r.kills {
		if err := o.round(i); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
	}
	r.say("%d rotations killed (%v), %d requests, %d logins of guests", r.kills, o.struck, o.fleet.sent.Load(), o.guests.in.Load())
	for _, key := range keys { // once undisturbed
		if err := o.finish(key); err != nil {
			return err
		}
	}
	o.retires(first)
	o.guests.halt()
	o.fleet.halt()
	return o.close()
}

var keys = []string{"master", "data", "signing"}

type rotating struct {
	*run
	ledger   *ledger
	provider *authtest.Provider
	server   *server
	fleet    *fleet
	guests   *guests
	struck   map[string]int // how the attempts ended
	asked    int            // places to restore to
	dataKey  uint32         // the newest seen
}

// rotationTTL is short, so that a replaced signing key retires within the campaign.
const rotationTTL = 6 * time.Second

func (o *rotating) set() error {
	behaviour := rotationBehaviour(authtest.RotationNone)
	o.ledger.watch(&behaviour)
	var err error
	if o.provider, err = o.newProvider(o.clients+guestCount, behaviour); err != nil {
		return err
	}
	o.ledger.provider = o.provider
	if o.server, err = o.newServer("rotate", o.settings()); err != nil {
		return err
	}
	if err := o.server.start(); err != nil {
		return err
	}
	if o.fleet, err = o.newFleet(o.server, o.clients, 60*time.Millisecond); err != nil {
		return err
	}
	o.guests = &guests{fleet: o.fleet, first: o.clients}
	return nil
}

func (o *rotating) settings() settings {
	return settings{
		issuer: o.provider.Issuer, clientID: o.provider.ClientID, secret: o.provider.ClientSecret,
		provider: []string{`rotation = "none"`, `holdoff = "200ms"`, `timeout = "5s"`},
		tokens:   []string{fmt.Sprintf("access_ttl = %q", rotationTTL)},
	}
}

// round kills one rotation, and has it finished.
func (o *rotating) round(i int) error {
	key := keys[i%len(keys)]
	var tracer *exec.Cmd
	if o.strace {
		var err error
		if tracer, err = o.attach(key, i/len(keys)); err != nil {
			return err
		}
	}
	cmd, err := o.server.operator("rotate-key", "-"+key)
	if err != nil {
		return err
	}
	if o.strace {
		select {
		case <-o.server.died:
			o.struck["system call"]++
		case <-time.After(2 * time.Second):
		}
		tracer.Process.Kill()
		tracer.Wait()
	} else {
		time.Sleep(rand.N(30 * time.Millisecond))
	}
	o.server.kill()
	if out, err := cmd.wait(); err == nil {
		o.struck["after it"]++
	} else if o.struck["during it"]++; out != "" || cmd.err.Len() == 0 {
		o.violation("rotate-key -%s, cut off, says %q and %q", key, out, cmd.err.String())
	}
	back := time.Now()
	if err := o.server.start(); err != nil {
		return fmt.Errorf("start after a kill during rotate-key -%s: %w\n%s", key, err, o.server.logTail("", 3))
	}
	if err := o.finish(key); err != nil {
		return err
	}
	if !o.fleet.settled(back, time.Minute) {
		return fmt.Errorf("nobody goes on after rotate-key -%s", key)
	}
	return nil
}

// Steps of a rotation, and of what goes on beside it, counted from the moment at which strace is there. A key file is
// replaced by the first ones; commits are all that the other rotations are made of.
var stepsOfRotation = map[string][]systemCall{
	"master":  {{"rename,renameat,renameat2", 2}, {"link,linkat", 1}, {"fsync", 3}, {"fchmod,fchmodat", 2}, {"fdatasync", 9}, {"pwrite64", 40}},
	"data":    {{"fdatasync", 15}, {"pwrite64", 60}},
	"signing": {{"fdatasync", 7}, {"pwrite64", 30}, {"write", 20}},
}

// attach has strace kill the running server at a system call of the rotation that follows.
func (o *rotating) attach(key string, n int) (*exec.Cmd, error) {
	if err := needStrace(); err != nil {
		return nil, err
	}
	calls := stepsOfRotation[key]
	call := calls[n%len(calls)]
	k := 1 + n/len(calls)*7%call.most // 7 meets every k in the long run, and spreads in a short one
	log := filepath.Join(o.dir, "strace.log")
	os.Remove(log)
	said, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer said.Close()
	cmd := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace="+call.name,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call.name, k), "-p", fmt.Sprint(o.server.pid()))
	cmd.Stderr, cmd.SysProcAttr = said, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for range 200 { // "strace: Process N attached"; not waiting longer costs one kill's aim, no more
		if text, _ := os.ReadFile(log); bytes.Contains(text, []byte("attached")) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return cmd, nil
}

// rotated is what rotate-key says.
type rotated struct {
	Key, File, ID string
	Retire        time.Time
}

// finish runs a rotation to its end and looks for the old key.
func (o *rotating) finish(key string) error {
	old, err := os.ReadFile(filepath.Join(o.server.data, "master.key"))
	if err != nil {
		return err
	}
	if key == "signing" {
		_, err := o.replaceSigning()
		return err
	}
	if _, err := o.insist(key); err != nil {
		return err
	}
	if key == "master" {
		return o.masterGone(old)
	}
	file, err := o.backup()
	if err != nil {
		return err
	}
	return o.oneDataKey(file)
}

// insist repeats a command until it is done: what is told to be begun again is.
func (o *rotating) insist(key string) (said rotated, err error) {
	for range 5 {
		if err = o.server.ask(&said, "rotate-key", "-"+key); err == nil {
			return said, nil
		}
		o.say("again: %v", err)
	}
	return said, err
}

// masterGone shows that the key of before opens no backup, and removes what is left of it.
func (o *rotating) masterGone(old []byte) error {
	now, err := os.ReadFile(filepath.Join(o.server.data, "master.key"))
	if err != nil {
		return err
	}
	if bytes.Equal(old, now) {
		o.violation("rotate-key -master left the key as it was")
	}
	file, err := o.backup()
	if err != nil {
		return err
	}
	for name, key := range map[string][]byte{"old": old, "new": now} {
		err := o.opens(file, key)
		if name == "old" && (err == nil || !strings.Contains(err.Error(), "master key")) || name == "new" && err != nil {
			o.violation("a backup opened with the %s master key: %v", name, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(o.server.data, "master.key.*"))
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(left, func(path string) bool { text, _ := os.ReadFile(path); return bytes.Equal(text, old) }) {
		o.violation("the old master key was not kept: %v", left)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// backup makes one, over the one before.
func (o *rotating) backup() (string, error) {
	file := filepath.Join(o.dir, "backup")
	_, err := o.server.do("backup", file, "-force")
	return file, err
}

// opens restores a backup in a folder that has this key and no other.
func (o *rotating) opens(file string, key []byte) error {
	o.asked++
	s := o.settings()
	s.public = o.server.url
	at, err := o.newServer(fmt.Sprintf("place-%d", o.asked), s)
	if err != nil {
		return err
	}
	defer os.RemoveAll(at.dir)
	if err := os.MkdirAll(at.data, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(at.data, "master.key"), key, 0o600); err != nil {
		return err
	}
	_, err = at.do("restore", file)
	return err
}

// probe is a client of its own with a fresh access token.
func (o *rotating) probe() (*client, error) {
	c := o.newClient(o.server, o.clients+guestCount, userName(0), o.fleet.clients[0].HTTP.Transport)
	return c, c.login()
}

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
