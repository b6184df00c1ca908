package admin

import (
	"net/http"
	"path/filepath"
	"time"

	"hostedmcp/storage"
)

// Keys and the clock.

// rotate makes a new key, online. Replacing the data key re-seals every record: it says how far it is.
func (d *Door) rotate(x *exchange) error {
	var in struct {
		File string `json:"new_key_file"` // for -master: where to write the new key; "" = over the present one
	}
	if err := x.read(&in); err != nil {
		return err
	}
	key := x.r.PathValue("key")
	if in.File != "" && (key != "master" || !filepath.IsAbs(in.File)) {
		return refuse(http.StatusBadRequest, "new_key_file is for the master key, with its whole path")
	}
	x.note("key", key) // its name; a key itself is never in a request or an answer
	r, err := d.newKey(x, key, in.File)
	if err == nil {
		return x.say(step{Key: &r})
	}
	// nothing was said yet: the error has a status of its own
	if !x.begun {
		return err
	}
	// The answer is under way: its last line says what went wrong.
	x.told = true
	_ = x.say(step{Error: err.Error()})
	return err
}

// newKey makes one. Which files it touches, and what a crash in the middle leaves, is told at the store's own functions.
func (d *Door) newKey(x *exchange, key, file string) (r rotation, err error) {
	ctx := x.r.Context()
	r.Key = key
	switch key {
	case "master":
		if file != "" {
			r.File, r.Waits, err = file, true, d.o.Store.RotateMasterTo(ctx, file)
		} else {
			r.File, err = d.o.Store.RotateMaster(ctx)
		}
	case "data":
		err = d.o.Store.RotateData(ctx, x.steps())
	case "signing":
		var made storage.SigningKey
		// whole seconds: what is said and what is stored are the same
		r.Retire = d.o.Retire().UTC().Truncate(time.Second)
		made, err = d.o.Store.RotateSigning(ctx, r.Retire)
		r.ID = made.ID
	default:
		err = refuse(http.StatusNotFound, "there is no %s key: rotate master, data or signing", shown(key))
	}
	return r, err
}

// stepEvery keeps a fast rotation from writing more lines than anybody reads.
const stepEvery = 200 * time.Millisecond

// steps returns what writes a line now and then.
func (x *exchange) steps() func(done, total int) {
	var last time.Time
	return func(done, total int) {
		if now := time.Now(); now.Sub(last) >= stepEvery || done == total {
			last = now
			_ = x.say(step{Done: done, Total: total}) // a caller who has gone is noticed by the context
		}
	}
}

// say writes a line of JSON and sends it at once.
func (x *exchange) say(s step) error {
	if !x.begun {
		x.begin("application/x-ndjson")
		x.w.WriteHeader(http.StatusOK)
	}
	x.progress()
	line, err := encode(s)
	if err != nil {
		return err
	}
	if _, err = x.w.Write(line); err != nil {
		return err
	}
	return http.NewResponseController(x.w).Flush()
}

// acceptClock takes the wall clock as right after a jump (protocol.md §5.3).
func (d *Door) acceptClock(x *exchange) error {
	a := clockState{Trusted: d.o.Store.ClockTrusted(), Now: d.o.Store.Now().UTC().Truncate(time.Second)}
	// It cannot fail: a store that cannot be written goes by it until the next start.
	d.o.Store.AcceptClock()
	x.note("trusted_before", a.Trusted)
	return x.answer(a)
}
