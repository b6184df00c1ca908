package auth_test

import (
	"net/http"
	"testing"

	"hostedmcp/auth/authtest"
)

// A client that starts with nothing ends with a call as its user, and its refresh needs no second login.
func TestLogin(t *testing.T) {
	s := authtest.NewServer(t, authtest.ServerOptions{})
	c := s.Client()
	id, status, reason := s.Call(c.Access)
	if status != http.StatusOK {
		t.Fatalf("call: %d %s", status, reason)
	}
	if id.Subject != "sub-alice" || id.ClientID != c.ID || !id.Scope.Has("mcp") {
		t.Errorf("call as %+v", id)
	}
	before := c.Access
	if a, err := c.Renew(); err != nil || a.Status != http.StatusOK {
		t.Fatalf("refresh: %v %+v", err, a)
	}
	if c.Access == before {
		t.Error("refresh gave the same access token")
	}
	if _, status, reason := s.Call(c.Access); status != http.StatusOK {
		t.Errorf("call after refresh: %d %s", status, reason)
	}
}
