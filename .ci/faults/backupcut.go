package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Backups that are cut off, and the places that backups are restored to.

// cutOff kills the server or the command at some moment of a backup. The name of a backup is given to a whole one only.
func (b *backedUp) cutOff(n int) {
	whole := 0
	for i := range n {
		file := filepath.Join(b.dir, fmt.Sprintf("cut-%d", i))
		cmd, err := b.server.operator("backup", file)
		if err != nil {
			b.violation("%v", err)
			return
		}
		time.Sleep(rand.N(120 * time.Millisecond))
		if i%2 == 0 {
			b.server.kill()
		} else {
			cmd.cmd.Process.Kill()
		}
		_, err = cmd.wait()
		if _, missing := os.Stat(file); missing == nil {
			whole++
			b.restorable(file)
		} else if err == nil || !errors.Is(missing, fs.ErrNotExist) {
			b.violation("backup cut off: exit %v, file %v", err, missing)
		}
		if i%2 == 0 {
			if err := b.server.start(); err != nil {
				b.violation("start after a kill during a backup: %v", err)
				return
			}
		}
	}
	b.say("%d backups killed, %d had been finished", n, whole)
}

// place is another machine: a data folder with the keys, and a port.
func (b *backedUp) place(name string) (*server, error) {
	s := b.settings()
	s.public = b.server.url
	at, err := b.newServer(name, s)
	if err == nil {
		err = b.server.withKeys(at)
	}
	return at, err
}

func (b *backedUp) restorable(file string) {
	at, err := b.place("place-" + filepath.Base(file))
	if err == nil {
		_, err = at.do("restore", file)
	}
	if err != nil {
		b.violation("a finished backup cannot be restored: %v", err)
		return
	}
	os.RemoveAll(at.dir)
}
