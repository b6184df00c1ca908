package storage

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hostedmcp/storage/seal"
)

// The two files. Both are made under another name and renamed, so that a crash leaves a whole file or none; both have
// mode 0600, the folder 0700, whatever the umask.
const (
	fileName       = "hostedmcp.db"
	keyName        = "master.key"
	credentialName = "hostedmcp-key"
)

// makeFolder makes the data folder; an existing one keeps its mode.
func makeFolder(dir string) error {
	if dir == "" {
		return faultf(ErrFolder, "data_dir is empty: set it to the folder that holds the store")
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return faultf(ErrFolder, "data_dir %s is not a folder: name another, or move that file away", dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			err = os.Chmod(dir, 0o700)
		}
	}
	if err == nil {
		err = unix.Access(dir, unix.W_OK|unix.X_OK)
	}
	if err != nil {
		return faultf(ErrFolder, "data_dir %s cannot be used (%v): make it writable for the user who runs hostedmcp: "+
			"chown USER %s", dir, plainError(err), dir)
	}
	return nil
}

// plainError is the system's own words, without the path that the line around it has.
func plainError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}

// keyPath finds the master key: the configured file, the systemd credential, or the file beside the store.
func (o Options) keyPath() (path string, credential bool) {
	if o.Config.KeyFile != "" {
		return o.Config.KeyFile, false
	}
	if o.CredentialsDir != "" {
		path = filepath.Join(o.CredentialsDir, credentialName)
		if _, err := os.Stat(path); err == nil {
			return path, true
		}
	}
	return filepath.Join(o.Dir, keyName), false
}

// masterKey reads the master key. A new store gets one made; for an old one its absence is an error.
func (o Options) masterKey(newStore bool) (key seal.Key, created bool, err error) {
	path, credential := o.keyPath()
	key, err = readKey(path, credential)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if !newStore {
		return key, false, faultf(ErrKey, "the master key %s is missing, and %s cannot be read without it: restore the key, "+
			"or start a new data_dir; all users sign in again", path, filepath.Join(o.Dir, fileName))
	}
	if err := place(path, func(temp string) error { return writeKey(temp, path, seal.NewKey()) }); err != nil {
		return key, false, faultf(ErrKey, "the master key %s cannot be made (%v): make its folder writable, or name another "+
			"file as storage.key_file", path, plainError(err))
	}
	key, err = readKey(path, credential) // of another process, if that was faster
	return key, true, err
}

// masterKeys returns the folder's master key, and behind it those that RotateMaster replaced: backups of their time
// open with them.
func (o Options) masterKeys() ([]seal.Key, error) {
	key, _, err := o.masterKey(false)
	if err != nil {
		return nil, err
	}
	keys := []seal.Key{key}
	path, _ := o.keyPath()
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	for _, path := range beside(path, replacedMark) {
		if key, err := readKey(path, false); err == nil {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// readKey accepts 64 hexadecimal digits (`openssl rand -hex 32`) or 32 raw bytes. The modes of a systemd credential
// are systemd's own affair: its access lists show as group bits.
func readKey(path string, credential bool) (seal.Key, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return seal.Key{}, fs.ErrNotExist
	}
	if err == nil && !credential && info.Mode().Perm()&0o077 != 0 {
		return seal.Key{}, faultf(ErrKey, "the master key %s can be read by others (mode %#o): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return seal.Key{}, faultf(ErrKey, "the master key %s cannot be read (%v): chown it to the user who runs hostedmcp", path, plainError(err))
	}
	if len(data) == seal.KeySize {
		return seal.Key(data), nil
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err != nil || len(raw) != seal.KeySize {
		return seal.Key{}, faultf(ErrKey, "the master key %s is not 64 hexadecimal digits: restore the key file", path)
	}
	return seal.Key(raw), nil
}

// place makes a file under another name, brings it to the disk and renames it, never over an existing one: of two
// processes that start at once, one file wins.
func place(path string, fill func(temp string) error) error {
	temp := tempName(path)
	defer os.Remove(temp)
	if err := fill(temp); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o600); err != nil {
		return err
	}
	if err := syncPath(temp); err != nil {
		return err
	}
	if err := renameNew(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// tempName is a name beside path that nothing else has. A file of such a name was left by a crash.
func tempName(path string) string { return path + "." + rand.Text() + tempEnd }

const tempEnd = ".new"

// tempOld is the age at which nobody works on a temporary file any more: another process may be starting on the same
// folder, or restoring into it.
const tempOld = time.Hour

// dropTemps removes what a crash left beside path.
func dropTemps(path string) {
	for _, temp := range beside(path, ".") {
		random := strings.TrimSuffix(strings.TrimPrefix(temp, path+"."), tempEnd)
		ours := len(temp) == len(tempName(path)) && strings.Trim(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
		if info, err := os.Lstat(temp); err == nil && ours && time.Since(info.ModTime()) > tempOld {
			_ = os.Remove(temp)
		}
	}
}

// beside returns the paths that begin with that of a file and a mark.
func beside(path, mark string) (found []string) {
	entries, _ := os.ReadDir(filepath.Dir(path))
	for _, e := range entries {
		if name := filepath.Base(path) + mark; strings.HasPrefix(e.Name(), name) {
			found = append(found, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return found
}

// renameNew never renames over an existing file: fs.ErrExist then.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if _, err := os.Lstat(to); err == nil { // file systems without the flag
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// owned gives a new file to the owner of the file that it replaces, or of the folder: an operator's command that runs
// as root must not leave what the server cannot read.
func owned(file, replaces string) error {
	var as, is unix.Stat_t
	err := unix.Stat(replaces, &as)
	if errors.Is(err, fs.ErrNotExist) {
		err = unix.Stat(filepath.Dir(replaces), &as)
	}
	if err == nil {
		err = unix.Stat(file, &is)
	}
	if err != nil || as.Uid == is.Uid && as.Gid == is.Gid {
		return err
	}
	return os.Chown(file, int(as.Uid), int(as.Gid))
}

// syncPath brings a file, or the names in a folder, to the disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// tighten takes the rights of others from the store's file.
func tighten(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() == 0o600 {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("set mode 0600: %w", err)
	}
	return nil
}
