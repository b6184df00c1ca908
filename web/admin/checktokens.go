package admin

import (
	"context"
	"fmt"
	"time"

	"hostedmcp/auth/oauth"
)

// What check finds in the lengths of time of [tokens]: each may stand as it is, some do not go together.

// Lives are the lengths of time of [tokens] that check weighs. The zero value is not looked at.
type Lives struct {
	RefreshIdle  oauth.Duration // tokens.refresh_idle
	TombstoneTTL oauth.Duration // tokens.tombstone_ttl
	RetryWindow  oauth.Duration // tokens.retry_window
}

// retryMost is the retry_window above which check warns (protocol.md §9).
const retryMost = oauth.Duration(time.Minute)

// lives weighs them against each other.
func (k *checker) lives(context.Context) []oauth.Finding {
	const name = "tokens"
	l := k.m.Lives
	var found []oauth.Finding
	// What ended after a backup was made is kept out of it at the restore by its tombstone. When that is gone, only idleness
	// can still end the connection that the backup brings back.
	if l.RefreshIdle > l.TombstoneTTL {
		found = append(found, oauth.Warn(name+" ended", fmt.Sprintf("an ended connection is forgotten after %s, and would not be idle before %s: "+
			"a backup that is older than the first could bring it back to life", l.TombstoneTTL, l.RefreshIdle),
			fmt.Sprintf("set tokens.tombstone_ttl to %s or more, or tokens.refresh_idle to %s or less; until then restore no backup older than %[2]s",
				l.RefreshIdle, l.TombstoneTTL)))
	}
	if l.RetryWindow > retryMost {
		found = append(found, oauth.Warn(name+" retried", fmt.Sprintf("a refresh token that was used already is good for another %s: so long has a thief", l.RetryWindow),
			fmt.Sprintf("set tokens.retry_window to %s or less, unless a program needs more", retryMost)))
	}
	if len(found) == 0 && l != (Lives{}) {
		found = append(found, oauth.Good(name, "their times go together"))
	}
	return found
}
