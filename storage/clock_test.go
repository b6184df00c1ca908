package storage_test

import (
	"sync/atomic"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// clockHarness watches alarms and says whether the system calls its clock synchronised.
type clockHarness struct {
	*harness
	synchronised atomic.Bool
	alarms       atomic.Int32
}

func newClockHarness(t *testing.T) *clockHarness {
	c := &clockHarness{}
	c.harness = newHarness(t, func(o *storage.Options) {
		o.Synchronised = c.synchronised.Load
		o.OnAlarm = func(r oauth.Reason, _ error) {
			if r == oauth.ClockJump {
				c.alarms.Add(1)
			}
		}
	})
	return c
}

// pass lets time pass with the steps that Run would make.
func (c *clockHarness) pass(d time.Duration) {
	for ; d > 0; d -= time.Minute {
		c.clock.Advance(min(d, time.Minute))
		c.Step(c.Context())
	}
}

// TestClockJump: a jump of a month ends nothing, in either direction (protocol.md §5.3, Clock).
func TestClockJump(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		jump time.Duration
	}{{"a year ahead", 366 * day}, {"a year back", -366 * day}, {"61 minutes ahead", 61 * time.Minute}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := newClockHarness(t)
			l, unclaimed := c.connect(), c.create(alice(1))
			c.rotate(l.id, 1)
			c.clock.Step(row.jump)
			c.pass(time.Minute)
			if c.ClockTrusted() || c.alarms.Load() != 1 {
				t.Errorf("trusted %v, %d alarms; want an alarm at once", c.ClockTrusted(), c.alarms.Load())
			}
			c.sweep(storage.SweepLimits{})
			c.wantLiving(l.id)
			c.wantLiving(unclaimed.id)
			if row, gen := c.rotate(l.id, 1); row != storage.RowPrevious || gen != 2 {
				t.Errorf("refresh under an untrusted clock: row %d, generation %d; want 6, 2", row, gen)
			}
			c.Use(l.id, 2, c.Now())
			c.clock.Advance(2 * time.Second)
			if row, gen := c.rotate(l.id, 2); row != storage.RowCurrent || gen != 3 {
				t.Errorf("refresh under an untrusted clock: row %d, generation %d; want 5, 3", row, gen)
			}
			c.check()
			c.clock.Step(-row.jump)
			if !c.ClockTrusted() {
				t.Error("the clock came back and is not trusted")
			}
			c.pass(time.Hour)
			if c.alarms.Load() != 1 {
				t.Errorf("%d alarms for one jump", c.alarms.Load())
			}
		})
	}
}

// TestClockSteps: steps of five minutes log nobody out, and move no retry window.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
		c := newClockHarness(t)
		l := c.connect()
		c.rotate(l.id, 1)
		c.Use(l.id, 2, c.Now())
		c.clock.Step(jump)
		if !c.ClockTrusted() {
			t.Errorf("a step of %s is not trusted", jump)
		}
		c.clock.Advance(30 * time.Second)
		if row, _ := c.rotate(l.id, 1); row != storage.RowPrevious {
			t.Errorf("after a step of %s, 30 s after the rotation: row %d, want 6", jump, row)
		}
		c.clock.Advance(31 * time.Second)
		if row, _ := c.rotate(l.id, 1); row != storage.RowReuse {
			t.Errorf("after a step of %s, 61 s after the rotation: row %d, want 7", jump, row)
		}
	}
}

// TestClockSettles: ten minutes of the system's word, or an operator's.
func TestClockSettles(t *testing.T) {
	t.Parallel()
	t.Run("system", func(t *testing.T) {
		t.Parallel()
		c := newClockHarness(t)
		c.connect()
		c.clock.Step(40 * day)
		c.pass(20 * time.Minute)
		if c.ClockTrusted() {
			t.Fatal("trusted without anybody's word")
		}
		c.synchronised.Store(true)
		c.pass(10 * time.Minute)
		if c.ClockTrusted() {
			t.Error("trusted before ten minutes of the system's word")
		}
		c.synchronised.Store(false)
		c.pass(time.Minute)
		c.synchronised.Store(true)
		c.pass(10 * time.Minute)
		if c.ClockTrusted() {
			t.Error("the ten minutes are not in a row")
		}
		c.pass(time.Minute)
		if !c.ClockTrusted() {
			t.Error("not trusted after ten minutes of the system's word")
		}
	})
	t.Run("operator", func(t *testing.T) {
		t.Parallel()
		c := newClockHarness(t)
		l := c.connect()
		c.clock.Step(40 * day)
		c.AcceptClock()
		if !c.ClockTrusted() {
			t.Error("not trusted after the operator's word")
		}
		c.sweep(storage.SweepLimits{})
		c.wantEnded(l.id, oauth.GrantIdle)
	})
}

// TestClockAtStart: after a start the machine gets ten minutes to ask the time before anybody is alarmed; what passed
// while only the process was down is known from the uptime.
func TestClockAtStart(t *testing.T) {
	t.Parallel()
	t.Run("process down for a day", func(t *testing.T) {
		t.Parallel()
		c := newClockHarness(t)
		c.connect()
		c.must(c.Close())
		c.clock.Advance(day)
		c.reopen()
		if !c.ClockTrusted() {
			t.Error("not trusted although the uptime agrees")
		}
	})
	for _, row := range []struct {
		name         string
		synchronised bool
		alarms       int32
	}{{"vouched for", true, 0}, {"not vouched for", false, 1}} {
		t.Run("clock off by a day, "+row.name, func(t *testing.T) {
			t.Parallel()
			c := newClockHarness(t)
			l := c.connect()
			c.must(c.Close())
			c.clock.Step(31 * day)
			c.reopen()
			c.synchronised.Store(row.synchronised)
			c.pass(9 * time.Minute)
			if c.ClockTrusted() || c.alarms.Load() != 0 {
				t.Errorf("trusted %v, %d alarms after 9 minutes", c.ClockTrusted(), c.alarms.Load())
			}
			c.sweep(storage.SweepLimits{})
			c.wantLiving(l.id)
			c.pass(3 * time.Minute)
			if c.ClockTrusted() != row.synchronised || c.alarms.Load() != row.alarms {
				t.Errorf("trusted %v, %d alarms after 12 minutes", c.ClockTrusted(), c.alarms.Load())
			}
		})
	}
}
