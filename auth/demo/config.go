package demo

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// Config is the section [demo]: it stands in place of `[provider] issuer`.
type Config struct {
	Listen string `toml:"listen"` // loopback IP address and port, "127.0.0.1:8081"; the issuer is http:// and this
	Users  []User `toml:"users"`  // who can sign in
}

// User is somebody who can sign in at the demo provider.
type User struct {
	Name     string   `toml:"name"` // what is typed at the sign-in page, and preferred_username
	Password string   `toml:"password"`
	Email    string   `toml:"email"`  // always asserted as verified; "" = no e-mail address
	Groups   []string `toml:"groups"` // claim groups; none = no group
}

// DefaultConfig returns the section as it is without a key set: port 8081, alice in sales and bob in finance.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8081",
		Users: []User{
			{Name: "alice", Password: "alice-pw", Email: "alice@example.com", Groups: []string{"sales"}},
			{Name: "bob", Password: "bob-pw", Email: "bob@example.com", Groups: []string{"finance"}},
		},
	}
}

// Validate reports every fault of the section at once, each with its key.
func (c Config) Validate() error {
	faults := []error{checkListen(c.Listen)}
	if len(c.Users) == 0 {
		faults = append(faults, errors.New("demo.users: nobody could sign in; name at least one user or leave the key out"))
	}
	seen := map[string]bool{}
	for i, u := range c.Users {
		key := fmt.Sprintf("demo.users[%d]", i)
		faults = append(faults, u.check(key))
		if seen[u.Name] {
			faults = append(faults, fmt.Errorf("%s.name: %q is there twice", key, u.Name))
		}
		seen[u.Name] = true
	}
	return errors.Join(faults...)
}

// checkListen takes IP addresses only: what a host name stands for is decided elsewhere, and may change.
func checkListen(listen string) error {
	addr, err := netip.ParseAddrPort(listen)
	switch {
	case err != nil:
		return fmt.Errorf("demo.listen: %q is not an IP address with a port; write 127.0.0.1:8081", listen)
	case !addr.Addr().IsLoopback() || addr.Addr().Is4In6() || addr.Addr().Zone() != "":
		return fmt.Errorf("demo.listen: %s is not loopback, and everybody who reaches the demo provider may sign in as anybody; write 127.0.0.1:%d", listen, addr.Port())
	case addr.Port() == 0:
		return errors.New("demo.listen: the port must be a fixed one, since the issuer names it; write 127.0.0.1:8081")
	}
	return nil
}

func (u User) check(key string) error {
	var faults []error
	if u.Name == "" || len(u.Name) > 64 || strings.ContainsFunc(u.Name, unprintable) {
		faults = append(faults, fmt.Errorf("%s.name: 1 to 64 printable characters without spaces are needed", key))
	}
	if u.Password == "" {
		faults = append(faults, fmt.Errorf("%s.password: is missing", key))
	}
	if u.Email != "" && (!strings.Contains(u.Email, "@") || strings.ContainsFunc(u.Email, unprintable)) {
		faults = append(faults, fmt.Errorf("%s.email: %q is not an e-mail address", key, u.Email))
	}
	for _, g := range u.Groups {
		if g == "" || strings.ContainsFunc(g, unicode.IsControl) {
			faults = append(faults, fmt.Errorf("%s.groups: %q is not a group name", key, g))
		}
	}
	return errors.Join(faults...)
}

func unprintable(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
