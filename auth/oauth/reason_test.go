package oauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
)

// protocol.md §8.4, word for word.
var listed = map[oauth.Group]string{
	oauth.GroupEnded: `user_revoked client_revoked admin_revoked code_replay login_unclaimed refresh_reuse grant_idle
		grant_max_age grant_evicted access_rule upstream_rejected upstream_session_expired upstream_session_ended
		upstream_consent_withdrawn upstream_user_disabled upstream_reuse upstream_lost`,
	oauth.GroupRefused: `token_missing tool_denied token_invalid token_expired token_audience grant_ended scope_missing
		refresh_invalid refresh_wrong_client code_invalid code_expired pkce_failed client_auth_failed scope_invalid
		target_invalid request_invalid host_refused origin_refused method_refused not_found session_unknown`,
	oauth.GroupTrouble: `upstream_unreachable upstream_error upstream_in_doubt upstream_suspect upstream_config
		upstream_bad_answer subject_changed storage_unavailable clock_jump rate_limited internal connector_unreachable
		connector_bad_answer connector_changed`,
	oauth.GroupLogin: `client_unknown redirect_refused cimd_blocked cimd_failed cimd_invalid csrf_failed browser_mismatch
		request_expired state_unknown consent_denied upstream_denied upstream_iss id_token_invalid registration_invalid
		registration_full`,
	oauth.GroupNormal: `registered consent_approved signed_in code_redeemed first_call refresh_ok refresh_same
		refresh_ahead refresh_outage keepalive_ok recheck_ok restored key_rotated ok`,
}

func TestReasonsAreTheClosedList(t *testing.T) {
	have := oauth.Reasons()
	if len(have) != len(listed) {
		t.Errorf("%d groups, listed %d", len(have), len(listed))
	}
	for group, words := range listed {
		var want []oauth.Reason
		for _, w := range strings.Fields(words) {
			want = append(want, oauth.Reason(w))
		}
		slices.Sort(want)
		if !slices.Equal(have[group], want) {
			t.Errorf("%s: have %v, listed %v", group, have[group], want)
		}
		for _, r := range want {
			if r.Group() != group {
				t.Errorf("%s is in group %q", r, r.Group())
			}
		}
	}
	if oauth.Reason("made_up").Group() != "" || oauth.Reason("made_up").Sentence() != "" {
		t.Error("a reason outside the list has a group or a sentence")
	}
}

// protocol.md §2: VS Code splits challenges on these four characters; RFC 6749 §5.2 allows ASCII only.
func TestSentences(t *testing.T) {
	for group, reasons := range oauth.Reasons() {
		for _, r := range reasons {
			s := r.Sentence()
			if (s == "") != (group == oauth.GroupNormal) {
				t.Errorf("%s has the sentence %q", r, s)
			}
			if i := strings.IndexFunc(s, func(c rune) bool { return strings.ContainsRune("=,\"\\", c) || c < ' ' || c > '~' }); i >= 0 {
				t.Errorf("%s: %q holds %q", r, s, s[i])
			}
		}
	}
}

// protocol.md §3.3: blocked and unreachable look alike outside, to the letter.
func TestBlockedLooksLikeFailed(t *testing.T) {
	blocked, failed := oauth.Fail(oauth.InvalidRequest, oauth.CIMDBlocked), oauth.Fail(oauth.InvalidRequest, oauth.CIMDFailed)
	if blocked.Description() != failed.Description() || !strings.HasPrefix(failed.Description(), "cimd_failed: ") {
		t.Errorf("%q, %q", blocked.Description(), failed.Description())
	}
	for _, reasons := range oauth.Reasons() {
		for _, r := range reasons {
			if r != oauth.CIMDBlocked && r.Wire() != r {
				t.Errorf("%s is %s on the wire", r, r.Wire())
			}
		}
	}
}

func TestError(t *testing.T) {
	for code, status := range map[oauth.Code]int{ // RFC 6749 §5.2, RFC 6750 §3.1, protocol.md §5.5
		oauth.InvalidGrant: 400, oauth.InvalidRequest: 400, oauth.InvalidTarget: 400, oauth.InvalidClient: 401,
		oauth.InvalidToken: 401, oauth.InsufficientScope: 403, oauth.TemporarilyUnavailable: 503,
	} {
		if got := oauth.Fail(code, oauth.Internal).Status; got != status {
			t.Errorf("%s: %d", code, got)
		}
	}
	e := oauth.Fail(oauth.InvalidGrant, oauth.GrantEnded)
	e.Ended = oauth.UserRevoked
	if want := "grant_ended user_revoked: " + oauth.UserRevoked.Sentence(); e.Description() != want {
		t.Errorf("description %q", e.Description())
	}
	cause := errors.New("a cause")
	with := e.Because(cause).With(418)
	if !errors.Is(with, cause) || with.Status != 418 || e.Status != 400 || e.Cause != nil {
		t.Errorf("%v, of %v", with, e)
	}
	if strings.Contains(with.Description(), "a cause") || !strings.Contains(with.Error(), "a cause") {
		t.Errorf("the cause is for the log only: %q, %q", with.Description(), with.Error())
	}
	if u := oauth.Unavailable(oauth.StorageUnavailable, cause); u.Status != 503 || u.Code != oauth.TemporarilyUnavailable || !errors.Is(u, cause) {
		t.Errorf("%v", u)
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * 24 * time.Hour, "0d": 0, "0s": 0, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "90s": 90 * time.Second,
	} {
		var d, again oauth.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.D() != want {
			t.Errorf("%s: %v, %v", text, d.D(), err)
		}
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%s writes itself as %s", text, d)
		}
	}
	for _, text := range []string{"", "d", "30", "-1s", "-1d", "1.5d", "1w", "99999999d"} {
		var d oauth.Duration
		if err := d.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "30d") {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
	for d, want := range map[oauth.Duration]string{
		oauth.Days(30): "30d", oauth.Duration(time.Hour): "1h", oauth.Duration(10 * time.Minute): "10m", oauth.Duration(90 * time.Minute): "1h30m",
	} {
		if b, err := d.MarshalText(); err != nil || string(b) != want {
			t.Errorf("%s, want %s", b, want)
		}
	}
}

// style.md house 11: a credential redacts itself wherever it is printed.
func TestSecret(t *testing.T) {
	s := oauth.Secret("hunter2")
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "any", struct{ S oauth.Secret }{s})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "any", struct{ S oauth.Secret }{s})
	raw, err := json.Marshal(map[string]any{"s": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	printed := log.String() + string(raw) + s.String() + s.GoString()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, struct{ S oauth.Secret }{s}) + fmt.Sprintf(verb, []oauth.Secret{s})
	}
	fmt.Fprintln(io.Discard, s)
	if strings.Contains(printed, "hunter2") || strings.Contains(printed, "68756e74657232") {
		t.Errorf("printed: %s", printed)
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal")
	}
}
