package storage

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hostedmcp/auth/oauth"
)

// The clock rule (protocol.md §5.3): trusted time is that of the last commit under a trusted clock, plus the uptime
// since. While the wall clock is more than an hour away from it, nothing ends by time, until the system has called
// its clock synchronised for ten minutes or an operator confirms.
const (
	clockLeeway  = time.Hour
	clockSettles = 10 * time.Minute
	stampEvery   = time.Minute // how often the trusted time is written, with a commit that takes place anyway
)

// clock compares the wall clock with the uptime.
type clock struct {
	wall         func() time.Time
	uptime       func() time.Duration
	synchronised func() bool
	alarm        func(oauth.Reason, error)
	boot         string // of this boot of the machine

	mu      sync.Mutex
	base    stamp         // of the last commit under a trusted clock
	written time.Duration // uptime of the last stamp on disk
	good    time.Duration // uptime since when an untrusted clock has been called synchronised; 0 = it is not
	alarmed bool
	since   time.Duration // uptime since when the clock has been untrusted; for a start: since the start
	started bool          // a step was trusted since the start
}

// stamp is a wall time together with the uptime that it was read at. The record lies in meta.
type stamp struct {
	wall time.Time
	up   uint64 // milliseconds
	boot string
}

func (s *stamp) fields(c *codec) {
	when(c, &s.wall)
	num(c, &s.up)
	text(c, &s.boot)
}

const clockKey = "clock"

func newClock(o Options) *clock {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it every start counts as a boot
	return &clock{
		wall: o.Now, uptime: o.Uptime, synchronised: o.Synchronised, alarm: o.OnAlarm,
		boot: strings.TrimSpace(string(boot)), since: o.Uptime(),
	}
}

// now is the wall clock, without the monotonic reading that stands still while the machine sleeps.
func (c *clock) now() time.Time { return c.wall().Round(0) }

func (c *clock) stampNow() stamp {
	return stamp{c.now(), uint64(c.uptime().Milliseconds()), c.boot}
}

// trusted compares without deciding anything. Within one boot the uptime since the stamp is known; after a boot it is
// at least the uptime, and how long the machine was off, nobody knows: the system's own word settles it then.
func (c *clock) trusted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.near(c.stampNow())
}

func (c *clock) near(now stamp) bool {
	if c.base.wall.IsZero() {
		return true // a new store has nothing that could end
	}
	up := now.up // since the boot at least, if there was one since the stamp
	if c.base.boot == now.boot && c.base.up <= now.up {
		up -= c.base.up
	}
	off := now.wall.Sub(c.base.wall.Add(time.Duration(up) * time.Millisecond))
	return off.Abs() <= clockLeeway
}

// stamp notes, inside a commit, that the clock was trusted.
func (c *clock) stamp(t *txn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.stampNow()
	if !c.near(now) {
		return
	}
	c.base, c.started = now, true
	up := time.Duration(now.up) * time.Millisecond
	if c.written == 0 || up-c.written >= stampEvery || up < c.written {
		c.written = up
		t.save(metaBucket, clockKey, &now)
	}
}

// step looks at the clock: settles a jump that the system vouches for, raises the alarm for one that it does not. At
// once while running; after a start, when the machine may only just be asking the time, if unsettled for ten minutes.
func (c *clock) step() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, up := c.stampNow(), c.uptime()
	if c.near(now) {
		c.good, c.alarmed, c.since = 0, false, up
		c.started = true
		return
	}
	switch {
	case !c.synchronised():
		c.good = 0
	case c.good == 0:
		c.good = up
	case up-c.good >= clockSettles:
		c.accept(now)
		return
	}
	settling := c.good != 0 && up-c.since < 2*clockSettles // a start gives the system's word its time
	if !c.alarmed && (c.started || up-c.since >= clockSettles && !settling) {
		c.alarmed = true
		c.alarm(oauth.ClockJump, fmt.Errorf("the wall clock says %s, which the uptime contradicts: nothing ends by time; "+
			"set the clock, or confirm it with: hostedmcp clock accept", now.wall.UTC().Format(time.RFC3339)))
	}
}

// accept starts anew from the wall clock. The next commit writes it down at once.
func (c *clock) accept(now stamp) {
	c.base, c.good, c.alarmed, c.written = now, 0, false, 0
}

// Now is the wall clock that the store goes by.
func (s *Store) Now() time.Time { return s.clock.now() }

// Uptime is what the store measures spans by: it runs while the machine sleeps, and no step of the wall clock moves it.
func (s *Store) Uptime() time.Duration { return s.clock.uptime() }

// ClockTrusted reports whether things may end by time now.
func (s *Store) ClockTrusted() bool { return s.clock.trusted() }

// AcceptClock takes the wall clock as right: an operator's word after a jump (`hostedmcp clock accept`). A store that
// cannot be written goes by it all the same, until the next start.
func (s *Store) AcceptClock() {
	s.clock.confirm()
	_ = s.write(context.Background(), func(t *txn) error { t.dirty = true; return nil }) // the stamp goes with a commit
}

func (c *clock) confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accept(c.stampNow())
}

// lapse is how long ago something happened, given the wall time and the stamp of when it did. Within one boot it is
// measured by uptime, so that a step of the wall clock moves no window; a time in the future is now.
func (t *txn) lapse(since stamp) time.Duration {
	now := t.clock.stampNow()
	if since.boot != "" && since.boot == bootTag(now.boot) && since.up <= now.up {
		return time.Duration(now.up-since.up) * time.Millisecond
	}
	return max(t.now.Sub(since.wall), 0)
}

// bootTag shortens a boot id for the records that carry one.
func bootTag(boot string) string { return boot[:min(len(boot), 8)] }

// systemUptime is CLOCK_BOOTTIME, which runs while the machine sleeps.
func systemUptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// systemSynchronised asks the kernel whether an NTP daemon keeps its clock.
func systemSynchronised() bool {
	const unsynchronised = 0x40 // STA_UNSYNC
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	return err == nil && state != unix.TIME_ERROR && tx.Status&unsynchronised == 0
}
