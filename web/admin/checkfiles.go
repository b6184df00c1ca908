package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hostedmcp/auth/oauth"
)

// What check finds in the file system: who may read what, and what the store lies on.

// storePath is where the store is, or will be made.
func (k *checker) storePath() string { return filepath.Join(k.o.Dir, storeFile) }

// exists reports whether something is there that we may look at.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// modeOf is the mode of what a path leads to: with a link, the file behind it is what others can read.
func modeOf(path string) fs.FileMode {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}

// files looks at modes. A configuration may be read by all, for secrets are in files of their own; whoever writes it
// decides where sign-ins go.
func (k *checker) files(context.Context) (found []oauth.Finding) {
	for _, f := range []struct {
		name, path string
		forbidden  fs.FileMode
		fix        string
	}{
		{"configuration", k.m.ConfigFile, 0o022, "chmod go-w "},
		{"data folder", k.o.Dir, 0o077, "chmod 700 "},
		{"store file", k.storePath(), 0o077, "chmod 600 "},
	} {
		// what is not there yet is made with the right mode by the first start
		if f.path != "" && exists(f.path) {
			found = append(found, mode(f.name, f.path, f.forbidden, f.fix))
		}
	}
	for _, s := range k.m.Secrets {
		found = append(found, secretMode(s))
	}
	return found
}

// mode is the finding on one file that is there.
func mode(name, path string, forbidden fs.FileMode, fix string) oauth.Finding {
	m := modeOf(path)
	if m&forbidden == 0 {
		return oauth.Good(name, fmt.Sprintf("%s has mode %#o", path, m))
	}
	// the worse of the two is named
	what := "others can read it"
	if m&0o022 != 0 {
		what = "others can change it"
	}
	return oauth.Bad(name, fmt.Sprintf("%s has mode %#o: %s", path, m, what), fix+path)
}

// secretMode is the finding on a secret's file, which must be there: a server without it does not start.
func secretMode(s SecretFile) oauth.Finding {
	info, err := os.Stat(s.Path)
	switch {
	case err != nil:
		return oauth.Bad(s.Key, err.Error(), "write the secret into that file, for the user who runs hostedmcp alone: chmod 600")
	case !info.Mode().IsRegular():
		return oauth.Bad(s.Key, s.Path+" is no file", "name a file that holds the secret")
	}
	return mode(s.Key, s.Path, 0o077, "chmod 600 ")
}

// The names that package storage gives the master key.
const (
	keyFile       = "master.key"
	keyCredential = "hostedmcp-key"
)

// key asks where the master key lies. Beside the data it is worth little: who copies the folder has both.
func (k *checker) key(context.Context) []oauth.Finding {
	const name = "master key"
	const move = "move it: a systemd credential named " + keyCredential + " (hostedmcp print unit shows how), or storage.key_file outside of data_dir"
	path, credential := k.keyPath()
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !exists(k.storePath()):
		return []oauth.Finding{oauth.Good(name, "there is none yet: the first start makes "+path)}
	// A credential is in a folder that only the service sees: this shell has no $CREDENTIALS_DIRECTORY.
	case errors.Is(err, fs.ErrNotExist) && k.live != nil:
		return []oauth.Finding{oauth.Good(name, "the running server has it from elsewhere")}
	case err != nil:
		return []oauth.Finding{oauth.Bad(name, err.Error(), "restore the key; if systemd hands it over, start the service and check again")}
	case credential:
		return []oauth.Finding{oauth.Good(name, "a systemd credential")}
	}
	found := []oauth.Finding{mode(name, path, 0o077, "chmod 600 ")}
	if inside(path, k.o.Dir) {
		found = append(found, oauth.Warn("master key apart", path+" lies beside the data: whoever copies the folder can read everything", move))
	}
	return found
}

// keyPath is where package storage looks.
func (k *checker) keyPath() (path string, credential bool) {
	// in the order of package storage: a file that is configured goes before the credential
	if k.o.Config.KeyFile != "" {
		return k.o.Config.KeyFile, false
	}
	if path = filepath.Join(k.o.CredentialsDir, keyCredential); k.o.CredentialsDir != "" && exists(path) {
		return path, true
	}
	return filepath.Join(k.o.Dir, keyFile), false
}

// inside reports whether a file lies in a folder or below it, whatever links lead there.
func inside(path, dir string) bool {
	// What does not resolve (the folder is not there yet) is compared as it is written.
	for _, p := range []*string{&path, &dir} {
		if real, err := filepath.EvalSymlinks(*p); err == nil {
			*p = real
		}
		if abs, err := filepath.Abs(*p); err == nil {
			*p = abs
		}
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// Free space: the store holds 16 MB in reserve, a backup needs the store's size again.
const (
	spaceFail = 64 << 20
	spaceWarn = 1 << 30
)

// badDisks are file systems that are not for a store: the database maps its file and relies on locks and fsync.
var badDisks = map[int64]struct{ name, why string }{
	unix.NFS_SUPER_MAGIC:       {"NFS", "its locks and its fsync are not those of a local disk"},
	unix.SMB_SUPER_MAGIC:       {"SMB", "its locks and its fsync are not those of a local disk"},
	unix.SMB2_SUPER_MAGIC:      {"SMB", "its locks and its fsync are not those of a local disk"},
	unix.CIFS_SUPER_MAGIC:      {"CIFS", "its locks and its fsync are not those of a local disk"},
	unix.FUSE_SUPER_MAGIC:      {"FUSE", "whether it keeps what was synced depends on what is behind it"},
	unix.V9FS_MAGIC:            {"9p", "its locks and its fsync are not those of a local disk"},
	unix.TMPFS_MAGIC:           {"tmpfs", "it is memory: everything is gone after a restart of the machine"},
	unix.RAMFS_MAGIC:           {"ramfs", "it is memory: everything is gone after a restart of the machine"},
	unix.OVERLAYFS_SUPER_MAGIC: {"overlayfs", "it is a layer of a container: everything is gone with the container"},
}

// disk looks at what the store lies on. The folder may not be there yet: then what it will be made in.
func (k *checker) disk(context.Context) []oauth.Finding {
	const name = "disk"
	dir := k.o.Dir
	for dir != "" && !exists(dir) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	d, err := k.m.Disk(dir)
	if err != nil {
		return []oauth.Finding{oauth.Warn(name, fmt.Sprintf("%s: %v", dir, err), "run check as the user who runs hostedmcp")}
	}
	free := size(int64(min(d.Free, 1<<62))) + " free"
	// Two lines: what is full today and what was chosen wrongly on the first day are mended by different people.
	found := []oauth.Finding{oauth.Good("disk space", free)}
	switch {
	case d.Free < spaceFail:
		found[0] = oauth.Bad("disk space", free, "make room: a full disk stops sign-ins and refreshes")
	case d.Free < spaceWarn:
		found[0] = oauth.Warn("disk space", free, "make room: a backup needs the size of the store again")
	}
	if bad, ok := badDisks[d.Type]; ok {
		return append(found, oauth.Warn(name, fmt.Sprintf("data_dir lies on %s: %s", bad.name, bad.why), "set data_dir to a folder on a local disk"))
	}
	return append(found, oauth.Good(name, "data_dir lies on a file system that serves"))
}

// disk asks the file system for what we, not root, may still use.
func disk(dir string) (Disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Disk{}, err
	}
	// f_bavail: blocks for users without privileges; f_bfree would count those kept for root
	return Disk{Type: s.Type, Free: s.Bavail * uint64(s.Bsize)}, nil
}
