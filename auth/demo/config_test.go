package demo_test

import (
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"hostedmcp/auth/demo"
)

// Everybody who reaches the demo provider may sign in as anybody: design.md §2.
func TestListen(t *testing.T) {
	for listen, good := range map[string]bool{
		"127.0.0.1:8081": true, "127.0.0.2:8081": true, "[::1]:8081": true,
		"0.0.0.0:8081": false, "[::]:8081": false, ":8081": false, "192.168.1.5:8081": false, "10.0.0.1:80": false,
		"localhost:8081": false, "example.com:8081": false, "[::ffff:127.0.0.1]:8081": false, "[fe80::1%lo]:8081": false,
		"127.0.0.1": false, "127.0.0.1:0": false, "127.0.0.1:70000": false, "": false,
	} {
		c := demo.DefaultConfig()
		c.Listen = listen
		err := c.Validate()
		if (err == nil) != good {
			t.Errorf("%q: %v", listen, err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "demo.listen: ") || !strings.Contains(err.Error(), "127.0.0.1:")) {
			t.Errorf("%q: the fault names the key and what to write: %v", listen, err)
		}
		if _, err := demo.New(demo.Options{Config: c, Key: make([]byte, 32), RedirectURI: redirectURI, Page: page}); (err == nil) != good {
			t.Errorf("New with %q: %v", listen, err)
		}
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	err := demo.Config{Listen: "0.0.0.0:1", Users: []demo.User{
		{Name: "eve", Password: "x"}, {Name: "eve", Password: "y"}, {Name: "a b", Email: "nowhere"},
		{Password: "z", Groups: []string{""}},
	}}.Validate()
	for _, key := range []string{"demo.listen:", "demo.users[1].name:", "demo.users[2].name:", "demo.users[2].password:", "demo.users[2].email:", "demo.users[3].name:", "demo.users[3].groups:"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not among the faults: %v", key, err)
		}
	}
	if err := (demo.Config{Listen: "127.0.0.1:1"}).Validate(); err == nil {
		t.Error("nobody to sign in is a fault")
	}
}

// Users in the file stand in place of the default ones, whole.
func TestUsersReplace(t *testing.T) {
	c := demo.DefaultConfig()
	if err := toml.Unmarshal([]byte("[[users]]\nname = 'carol'\npassword = 'pw'\n"), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Users) != 1 || c.Users[0].Email != "" || c.Users[0].Groups != nil || c.Listen != "127.0.0.1:8081" {
		t.Errorf("%+v", c)
	}
}

func TestOptions(t *testing.T) {
	good := demo.Options{Config: demo.DefaultConfig(), Key: make([]byte, 32), RedirectURI: redirectURI, Page: page}
	for name, change := range map[string]func(*demo.Options){
		"short key":       func(o *demo.Options) { o.Key = o.Key[1:] },
		"no redirect URI": func(o *demo.Options) { o.RedirectURI = "" },
		"no page":         func(o *demo.Options) { o.Page = nil },
		"negative life":   func(o *demo.Options) { o.AccessTTL = -1 },
	} {
		o := good
		change(&o)
		if _, err := demo.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
