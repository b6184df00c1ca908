package main

import (
	"math/rand/v2"
	"time"
)

// kill is one way to end a process.
type kill struct {
	name  string
	clean bool     // SIGTERM: nothing at all may be lost by it
	next  []string // under what the next process is started
	do    func() (time.Time, error)
}

// gatesAndChance returns n kills, mixed by the seed.
func (c *attacked) gatesAndChance(n int) (out []kill) {
	for range n {
		switch p := c.rand.IntN(20); {
		case p < 9:
			out = append(out, kill{name: "random", do: c.atRandom})
		case p < 19:
			out = append(out, kill{name: "gate", do: c.atGate})
		default:
			out = append(out, kill{name: "SIGTERM", clean: true, do: c.deploy})
		}
	}
	return out
}

func (c *attacked) atRandom() (time.Time, error) {
	time.Sleep(rand.N(400 * time.Millisecond))
	return c.server.kill(), nil
}

func (c *attacked) deploy() (time.Time, error) {
	time.Sleep(rand.N(400 * time.Millisecond))
	return time.Now(), c.server.stop()
}

// atGate kills around the answer to one to four refreshes: they are held before or after they take effect, let go, and
// 0 to 5 ms later the process dies; or it dies while they are held.
func (c *attacked) atGate() (time.Time, error) {
	held := 1 + c.rand.IntN(4)
	arrived, open, mend := c.witness.hold(held, c.rand.IntN(2) == 0)
	late := time.After(time.Second)
	for i := 0; i < held; i++ {
		select {
		case <-arrived:
		case <-late:
			i = held
		}
	}
	// in one of four the answer never leaves: the provider carried it out, and nobody will ever see it
	opened := c.rand.IntN(4) != 0
	if opened {
		open()
		time.Sleep(time.Duration(c.rand.Int64N(int64(5 * time.Millisecond))))
	}
	at := c.server.kill()
	mend()
	if !opened {
		open()
	}
	return at, nil
}
