package auth_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain holds the package to leaving nothing running: flights, loops and waits all end with their server.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// kept connections of test clients and of the provider's documents go when they have been idle for long
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*http2ClientConn).readLoop"))
}
