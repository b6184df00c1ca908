package web

import (
	"errors"
	"net/http"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// Health for supervisors, readiness for load balancers and people. Both are open to everybody, so they name reason codes
// and never causes: a path, a host or a library's words would help a stranger.

// Check is one condition of /readyz. Check returns nil while it holds; it must be quick and cause no traffic. A reason
// is shown if the error is an *oauth.Error, else `internal`; the cause is for the log alone.
type Check struct {
	Name  string
	Check func() error
}

// failedCheck is what /readyz says of a check.
type failedCheck struct {
	Check  string       `json:"check"`
	Reason oauth.Reason `json:"reason"`
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready  bool          `json:"ready"`
	Failed []failedCheck `json:"failed,omitempty"`
}

// healthz says that the process answers, whatever else is broken: a supervisor must not restart a server whose
// provider is down.
func healthz(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
	return nil
}

// readyz says whether the server can do its work now, and if not why.
func (h *handler) readyz(w http.ResponseWriter, r *http.Request) error {
	state := readiness{Ready: true}
	for _, c := range h.checks {
		err := c.Check()
		if err == nil {
			continue
		}
		reason := oauth.Internal
		var e *oauth.Error
		if errors.As(err, &e) {
			reason = e.Reason.Wire()
		}
		auth.Request(r.Context()).Fail(oauth.Unavailable(reason, err))
		state.Ready, state.Failed = false, append(state.Failed, failedCheck{c.Name, reason})
	}
	status := http.StatusOK
	if !state.Ready {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	}
	writeJSON(w, status, state)
	return nil
}
