package storage

import (
	"crypto/subtle"
	"time"

	"hostedmcp/auth/oauth"
)

// Row is a row of the refresh table (protocol.md §5.3).
type Row int

// The rows. Row 1 (a token that cannot be read or was not made here) is judged before the store is asked; the store
// answers it for a grant that it does not know.
const (
	RowUnknown     Row = 1 // invalid_grant, nothing done
	RowEnded       Row = 2 // invalid_grant, nothing done
	RowOtherClient Row = 3 // invalid_grant, nothing done: a thief gains nothing, two known clients do it innocently
	RowTooOld      Row = 4 // the grant ends: idle or age limit
	RowCurrent     Row = 5 // rotates
	RowPrevious    Row = 6 // the same successor again, nothing written
	RowReuse       Row = 7 // the grant ends
	RowOlder       Row = 8 // the grant ends
	RowAhead       Row = 9 // the store is a restored backup: AdoptAhead, ask the provider, then row 5
)

// Serves reports whether a token in this row is answered with tokens.
func (r Row) Serves() bool { return r == RowCurrent || r == RowPrevious || r == RowAhead }

// Limits are the spans that the verdict depends on. Idle or MaxAge 0 = no such limit.
type Limits struct{ Idle, MaxAge, RetryWindow time.Duration }

// family is what the verdict depends on, at one moment.
type family struct {
	ended        bool
	clientID     string
	gen          uint32
	used         bool          // an access token of gen was accepted
	age          time.Duration // since gen was issued
	idle         time.Duration // since the last use
	life         time.Duration // since the grant was made
	clockTrusted bool
}

// judge is rows 2 to 9 of the refresh table, in its order. The token's MAC has been checked.
func judge(f family, clientID string, gen uint32, limits Limits) (Row, oauth.Reason) {
	switch {
	case f.ended:
		return RowEnded, oauth.GrantEnded
	case subtle.ConstantTimeCompare([]byte(f.clientID), []byte(clientID)) != 1:
		return RowOtherClient, oauth.RefreshWrongClient
	}
	if reason := tooOld(f, limits); reason != "" {
		return RowTooOld, reason
	}
	// From here the token is one of ours, of this client and in time: its age in generations decides. A grant whose
	// code was not redeemed is at 0, and nobody has a token of it.
	switch {
	case gen > f.gen:
		return RowAhead, oauth.RefreshAhead
	case gen == f.gen:
		return RowCurrent, oauth.RefreshOK
	case gen < f.gen-1:
		return RowOlder, oauth.RefreshReuse // its holder had the successor, and used it to get the next one
	case !f.used, f.age <= limits.RetryWindow: // an answer was lost, or two processes share the token
		return RowPrevious, oauth.RefreshSame
	}
	return RowReuse, oauth.RefreshReuse // RFC 9700 §4.14.2
}

// tooOld is row 4. While the clock is not trusted nothing ends by time (§5.3, Clock).
func tooOld(f family, limits Limits) oauth.Reason {
	switch {
	case !f.clockTrusted:
		return ""
	case limits.Idle > 0 && f.idle > limits.Idle:
		return oauth.GrantIdle
	case limits.MaxAge > 0 && f.life > limits.MaxAge:
		return oauth.GrantMaxAge
	}
	return ""
}

// family reads a grant as the verdict needs it.
func (t *txn) family(g *grantRecord) family {
	return family{
		ended: !g.Living(), clientID: g.ClientID, gen: g.Gen, used: g.Used, clockTrusted: t.clock.trusted(),
		// idle and life are long, so the wall clock serves; the retry window is a minute, which a step would swallow
		idle: t.now.Sub(g.LastUse), life: t.now.Sub(g.Created), age: t.lapse(g.issued),
	}
}
