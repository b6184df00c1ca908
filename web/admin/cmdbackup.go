package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"hostedmcp/storage"
)

// Backup and restore, the two commands that write files of their own. For both a file that is there is whole: whoever
// finds one in the night need not wonder whether it was being written when the machine went down.

// backup writes a copy. It is made under another name and renamed when it is whole and on the disk: a backup that
// exists can be relied on.
func backup(ctx context.Context, c *call) error {
	path := c.args[0]
	if path == "-" && c.env.Terminal {
		return wrongUse("a backup is no text: write hostedmcp backup - > FILE, or name a file")
	}
	if err := c.free(path); err != nil {
		return err
	}
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	res, err := a.do(ctx, http.MethodPost, "/v1/backup", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	// No limit of time from here on: a large store over a slow pipe is no fault.
	from := &counter{from: res.Body, p: progress{c: c}}
	if path == "-" {
		// what reads the pipe must look at our exit code: a copy that was cut off cannot be taken back
		_, err = io.Copy(c.env.Stdout, from)
		return err
	}
	if err := c.save(path, from); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if c.opt.json {
		return c.printValue(map[string]any{"file": path, "bytes": from.n})
	}
	if err := c.say("%s: %s", path, size(from.n)); err != nil {
		return err
	}
	c.warn("The master key is not in it: keep a copy of the key elsewhere. Without it no backup can be read.")
	return nil
}

// free refuses to overwrite, before the server does any work for nothing.
func (c *call) free(path string) error {
	info, err := os.Stat(path)
	switch {
	case path == "-", errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder: name the file in it", path)
	// the last good backup is not what a failing one should cost
	case !c.opt.force:
		return fmt.Errorf("%s is there already: name another file, or overwrite it with -force", path)
	case c.ours(info):
		return fmt.Errorf("%s is the store itself, or its master key: name another file", path)
	}
	return nil
}

// ours reports whether a file is one that the server lives by. Under a server that runs, a copy in the store's place
// would leave it writing to a file without a name, and everything since would be gone at its next start.
func (c *call) ours(info fs.FileInfo) bool {
	if c.env.Options == nil {
		return false
	}
	k := checker{o: c.env.Options()}
	key, _ := k.keyPath()
	for _, path := range []string{k.storePath(), key} {
		if own, err := os.Stat(path); err == nil && os.SameFile(own, info) {
			return true
		}
	}
	return false
}

// save brings the copy to the disk and gives it its name. Of two at once, without -force, one wins.
func (c *call) save(path string, from *counter) error {
	// In the same folder: a rename works within one file system only.
	temp := path + "." + rand.Text() + ".part"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	_, err = io.Copy(f, from)
	from.p.done()
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := c.rename(temp, path); err != nil {
		return err
	}
	// the name itself must be on the disk as well
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// rename gives the file its name. The kernel refuses to replace: between looking and renaming somebody may have made it.
func (c *call) rename(temp, path string) error {
	if c.opt.force {
		return os.Rename(temp, path)
	}
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS): // file systems without the flag
		return os.Rename(temp, path)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s was made meanwhile: name another file, or overwrite it with -force", path)
	}
	return err
}

// counter shows how far it is.
type counter struct {
	from io.Reader
	n    int64
	p    progress
}

// Read implements io.Reader.
func (r *counter) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.n += int64(n)
	r.p.show("%s", size(r.n))
	return n, err
}

// restored is what restore prints as JSON. Whoever drives it from a script has to look at tombstones_lost.
type restored struct {
	Grants         int       `json:"grants"`     // that live
	Ended          int       `json:"ended"`      // that lived in the backup and have ended since
	Tombstones     int       `json:"tombstones"` // taken over
	TombstonesLost string    `json:"tombstones_lost,omitempty"`
	Replaced       string    `json:"replaced,omitempty"`
	BackupAt       time.Time `json:"backup_at,omitzero"`
}

// restore puts a backup in the place of the store. It works on the closed file only: under a server the ground would
// be pulled away.
func restore(ctx context.Context, c *call) error {
	a, err := c.dial(ctx)
	if err == nil {
		_ = a.close()
		return fmt.Errorf("hostedmcp is running (pid %d): stop it first: systemctl stop hostedmcp, or kill %d; then restore again",
			a.live.PID, a.live.PID)
	}
	if !errors.Is(err, errNoServer) {
		return err
	}
	// The socket may have been another one: the lock of the file itself has the last word.
	r, err := storage.Restore(ctx, c.env.Options(), c.args[0])
	if errors.Is(err, storage.ErrLocked) {
		return fmt.Errorf("a hostedmcp has the store open: stop it first: systemctl stop hostedmcp; then restore again")
	}
	if err != nil {
		return err
	}
	out := restored{Grants: r.Grants, Ended: r.Ended, Tombstones: r.Tombstones, Replaced: r.Replaced, BackupAt: r.BackupAt.UTC()}
	if r.TombstonesLost != nil {
		out.TombstonesLost = r.TombstonesLost.Error()
	}
	return c.printRestored(out)
}

// printRestored says first what was lost, since it is what the operator has to act on.
func (c *call) printRestored(r restored) error {
	if r.TombstonesLost != "" {
		c.warn("The replaced file could not be read (%s): connections that were ended after the backup live again. "+
			"Look at them with hostedmcp grants list, and end those that must not. A signing key that was replaced after the "+
			"backup signs again: hostedmcp rotate-key -signing, if it was replaced because somebody knew it.", escapedLine(r.TombstonesLost))
	}
	if c.opt.json {
		return c.printValue(r)
	}
	if err := c.say("Restored %s.", many(r.Grants, "living connection")); err != nil {
		return err
	}
	c.warn("The backup is of %s UTC. %s in it had ended since, and stayed ended.", r.BackupAt.Format("2006-01-02 15:04"),
		many(r.Ended, "connection"))
	if r.Replaced != "" {
		c.warn("The replaced file is kept as %s: remove it when all is well.", r.Replaced)
	}
	c.warn("Start hostedmcp: what the provider has given since is in doubt, and is asked for anew when it is needed.")
	return nil
}
