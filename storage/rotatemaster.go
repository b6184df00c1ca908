package storage

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage/seal"
)

// A new master key wraps what the old one wrapped; no record is touched. File and key file cannot change in one step,
// so for a while the ring is wrapped twice, and either key opens it:
//
//	1  the new key is written beside the old one, under another name
//	2  commit: ring under the old key, and under the new one as keys_next
//	3  the old key gets a second name, or is copied where there are none; the new one is renamed over the first
//	4  commit: ring under the new key only
//
// After a crash before 3 the old key opens the store and the start drops keys_next; after 3 the new key opens it by
// keys_next and the start does 4. A key that the operator installs himself waits as keys_handed instead, through any
// number of starts with the old one.

// RotateMaster makes a new master key and returns the file that holds it, the same as before. The old key stays beside
// it, with `.replaced-` and the Unix time behind its name, for Restore of the backups of its time: to be removed with
// the last of these, or now, if it is known to a stranger. Errors: ErrKey with the fix (a systemd credential cannot be
// written: RotateMasterTo; the folder cannot be; the key file is not the store's); ErrUnavailable, and any start then
// opens the store with the key file as it is.
func (s *Store) RotateMaster(ctx context.Context) (file string, err error) {
	path, credential := s.opt.keyPath()
	if credential {
		return "", faultf(ErrKey, "the master key is the systemd credential %s, which hostedmcp cannot write: run hostedmcp "+
			"rotate-key -master -new-key-file FILE, make FILE that credential, and restart", credentialName)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	release, err := s.rotation(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	key, temp := seal.NewKey(), tempName(path)
	defer os.Remove(temp)
	if err := writeKey(temp, path, key); err != nil {
		return "", faultf(ErrKey, "the new master key cannot be written beside %s (%v): make its folder writable", path, plainError(err))
	}
	if err := s.offerMaster(ctx, keysNextKey, key); err != nil {
		return "", err
	}
	if err := s.installKey(ctx, temp, path); err != nil {
		return "", faultf(ErrKey, "the new master key cannot take the place of %s (%v): make its folder writable, and room there",
			path, plainError(err))
	}
	return path, s.takeMaster(ctx, key)
}

// RotateMasterTo makes a new master key in a new file, for the operator to install. The store opens with either key
// until it is opened with the new one, which ends the old. A key that was made so before and never used serves no
// longer. Errors: ErrKey with the fix, ErrUnavailable.
func (s *Store) RotateMasterTo(ctx context.Context, path string) error {
	release, err := s.rotation(ctx)
	if err != nil {
		return err
	}
	defer release()
	key, temp := seal.NewKey(), tempName(path)
	defer os.Remove(temp)
	err = writeKey(temp, path, key)
	if err == nil {
		err = renameNew(temp, path) // never over a key that something may be sealed with
	}
	if err == nil {
		err = syncPath(filepath.Dir(path))
	}
	if errors.Is(err, fs.ErrExist) {
		return faultf(ErrKey, "%s exists: name a new file for the new master key", path)
	}
	if err != nil {
		return faultf(ErrKey, "the new master key cannot be written to %s (%v): name a file in a folder that hostedmcp may write", path, plainError(err))
	}
	if err := s.offerMaster(ctx, keysHandedKey, key); err != nil {
		_ = os.Remove(path) // a key that opens nothing would only be confusing
		return err
	}
	s.tellRotated("master")
	return nil
}

// rotation lets one rotation of master or data key work at a time.
func (s *Store) rotation(ctx context.Context) (release func(), err error) {
	select {
	case s.rotating <- struct{}{}:
		return func() { <-s.rotating }, nil
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
}

// writeKey writes a key to a file of its own, in the form that people can copy and print. It belongs to whom the file
// belongs that it is to replace.
func writeKey(file, replaces string, key seal.Key) error {
	if err := os.WriteFile(file, []byte(hex.EncodeToString(key[:])+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.Chmod(file, 0o600); err != nil {
		return err
	}
	if err := owned(file, replaces); err != nil {
		return err
	}
	return syncPath(file)
}

// offerMaster is step 2. The key that stands in the key file must stay one that opens the store; after a rotation that
// failed at step 4 it is not the one that the ring is wrapped with.
func (s *Store) offerMaster(ctx context.Context, name string, key seal.Key) error {
	path, credential := s.opt.keyPath()
	installed, err := readKey(path, credential)
	if errors.Is(err, fs.ErrNotExist) {
		installed, err = s.keys.Load().master, nil // its file was taken away after the start; the next start will ask for it
	}
	if err != nil {
		return err
	}
	var verdict error
	err = s.write(ctx, func(t *txn) error {
		k := *t.keys.Load()
		if _, _, verdict = t.unwrap([]seal.Key{installed}); verdict != nil {
			return nil
		}
		k.master = installed
		t.wrap(&k)
		t.put(metaBucket, name, seal.Keys{Store: k.store, Ring: k.ring}.Wrap(key))
		return nil
	})
	if err != nil {
		return err
	}
	if verdict != nil {
		return faultf(ErrKey, "the master key %s is not the one that %s is sealed with: put the right key there first", path, s.path)
	}
	s.reloadKeys(installed)
	return nil
}

// installKey is step 3: at no moment is there no key at path.
func (s *Store) installKey(ctx context.Context, temp, path string) error {
	if _, err := s.opt.keep(ctx, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path)) // before step 4: the old name must not come back after it
}

// takeMaster is step 4. Whatever becomes of its commit, the new key opens the store.
func (s *Store) takeMaster(ctx context.Context, key seal.Key) error {
	err := s.write(ctx, func(t *txn) error {
		k := *t.keys.Load()
		k.master = key
		t.wrap(&k)
		t.stamp(&Event{Reason: oauth.KeyRotated, Note: "master"})
		return nil
	})
	s.reloadKeys(key)
	return err
}

// tellRotated tells of a new key that no commit of its own goes with.
func (s *Store) tellRotated(what string) {
	now := s.Now()
	s.opt.OnEvent(Event{At: now, Last: now, Count: 1, Reason: oauth.KeyRotated, Note: what})
}
