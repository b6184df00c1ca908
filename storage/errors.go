package storage

import (
	"errors"
	"fmt"
)

// refusal is a verdict of a transition: decided by reading, nothing written. It must not roll back the batch that the
// transition shares with others, as a fault of the store does.
type refusal string

// Error is for logs; outside it has a reason of its own.
func (r refusal) Error() string { return "storage: " + string(r) }

// What a transition or a reading can answer.
const (
	ErrNotFound   = refusal("no such record")
	ErrEnded      = refusal("grant has ended")
	ErrGeneration = refusal("record has moved on")     // compare-and-swap lost
	ErrFull       = refusal("no room for another one") // of the configured number
	ErrFinished   = refusal("authorization request is finished")
	ErrReplaced   = refusal("authorization request was approved again")
	ErrExpired    = refusal("authorization request or sign-in is too old")
	ErrBrowser    = refusal("authorization request belongs to another browser")
)

// ErrUnavailable says that the store cannot be written or read now (full, read-only, I/O error, damaged record,
// closed). It is our own trouble: 503, never a verdict on a credential. A transition that fails so has not happened,
// or, if the disk failed at the very last step, may have happened; asking again is safe for all of them.
var ErrUnavailable = errors.New("storage: unavailable")

// Faults at Open; each comes with a line that names the fix.
var (
	ErrLocked = errors.New("storage: in use by another process")
	ErrSchema = errors.New("storage: not a store of this version")
	ErrIssuer = errors.New("storage: store belongs to another issuer")
	ErrKey    = errors.New("storage: master key does not serve")
	ErrFolder = errors.New("storage: data folder does not serve")
)

// errDamaged marks a record that does not decode or open.
var errDamaged = errors.New("damaged record")

// unavailable puts a fault behind the one error that callers test for, and keeps its words for the log.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// fault is an error for the operator: what is wrong and what to do, in one line, around a sentinel.
type fault struct {
	kind error
	line string
}

// Error is the line for the operator.
func (f fault) Error() string { return f.line }

// Unwrap returns the sentinel.
func (f fault) Unwrap() error { return f.kind }

// faultf writes the operator's line.
func faultf(kind error, format string, args ...any) error {
	return fault{kind, fmt.Sprintf(format, args...)}
}
