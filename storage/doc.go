// Package storage keeps everything that outlives a request, in one bbolt file with sealed records and one key file. It
// is the only package that imports bbolt. Nothing is stored that it does not describe here.
//
// # Buckets
//
//	meta        schema, issuer, clock, restored_at, backup_at (of a backup), counters in clear; store key and data keys
//	            wrapped by the master key, and by a new one on its way (keys_next, keys_handed); signing keys sealed
//	clients     client id → registration or metadata document, created, last used, living grants
//	requests    request id → approved authorization request, until the callback; then the memory that it is finished,
//	            until its ticket expires. Sealed. Also the indexes by time, browser and address for the limits
//	codes       SHA-256 of the code → grant, challenge, redirect URI, resource, redeemed at
//	grants      grant id → client, subject, scopes, refresh state, times, end reason; family key sealed
//	upstream    grant id → the provider's tokens, intent, trouble, doubt. Sealed
//	identities  grant id → claims. Sealed
//	by_subject  subject, or HMAC of the e-mail address, 0, grant id
//	by_session  HMAC of the provider's sid, 0, grant id (living grants)
//	signins     SHA-256 of the cookie → subject, claims, expiry. Sealed
//	events      grant id, sequence → journal event
//	due         kind, time, key: what is to be looked at when. Only an operator's search reads everything
//	pins        connector, 0, tool → its definitions served, and a changed one that waits. Sealed
//
// A sealed record is bound to its bucket and key (package seal): records cannot be swapped. Times are Unix seconds.
//
// # Transitions
//
// The file changes by named transitions only (RedeemCode, RotateRefresh, SaveUpstream, EndGrant, …). Each reads and
// decides inside the transaction, then writes, with its journal event, and returns a verdict. There is no open closure
// and no lock around a grant: network inside a write transaction cannot be written. One goroutine commits, for all who
// wait at once (writer.go); a transition may run twice and has no side effects.
//
// A verdict is not an error of the store. What the store cannot do (full, read-only, I/O error, damaged record) is
// ErrUnavailable: 503 outside, never a judgement on a credential. It recovers by itself; Ready says how it is.
//
// Readings are of the file, each in one transaction. Tokens and Identity, which every call asks for, remember what they
// unsealed as long as the same sealing is in the file (opened.go).
//
// # A life
//
//	RegisterClient   clients
//	Approve          requests: sealed, bound to state secret and browser; consent_approved
//	TakeRequest      one winner; the id is remembered as finished
//	CreateGrant      grants, identities, upstream, codes, indexes, reminders; signed_in. State "unclaimed"
//	RedeemCode       the family begins at generation 1; code_redeemed. State "working"
//	Use, FirstCall   a call: read Grant, note the use in memory; first_call once
//	JudgeRefresh     which row of protocol.md §5.3?
//	BeginUpstream    intent, before the provider is asked (§8.1)
//	SaveUpstream     its answer, before anybody uses it
//	RotateRefresh    generation 2; refresh_ok. A lost answer: row 6, the same again, no write
//	EndGrant         a tombstone: record, family key, identity, journal stay for TombstoneTTL; user_revoked
//	UpstreamRevoked  the provider's token goes
//	Sweep            the tombstone goes
//
// # Copies and keys
//
// Backup is one transaction's view, compacted; Restore brings one to the present: what ended since has ended, the
// provider's tokens are in doubt, what is good for once is gone. It may be killed at any point, and so may the rotations
// (online, in steps):
//
//	RotateMaster   wraps the ring anew (rotatemaster.go); a systemd credential is the operator's to replace: RotateMasterTo
//	RotateData     a new data key; everything is sealed anew, then the old key goes (rotatedata.go). Run finishes it
//	RotateSigning  a new signing key; the old one verifies until its RetireAt
//
// # Time
//
// Nothing ends by time while the clock is not trusted (clock.go). Whether an access token of the current generation was
// used is kept in memory and flushed; a crash errs to unused, so that a retry still gets its successor.
package storage
