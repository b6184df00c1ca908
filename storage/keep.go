package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// What is replaced is kept beside what replaces it: the old master key for the backups of its time, the old file for
// an operator who restored the wrong one.

// replacedMark, and a Unix time, end the name of what was replaced.
const replacedMark = ".replaced-"

// keep gives the file at path a second name, under which it stays when another is renamed over it: at no moment is
// there none at path, and the second name is on the disk before the first can go.
func (o Options) keep(ctx context.Context, path string) (kept string, err error) {
	kept, err = freeName(path, o.Now().Unix(), func(name string) error { return o.link(path, name) })
	if unlinkable(err) {
		kept, err = o.keepCopy(ctx, path)
	}
	if err != nil {
		return "", err
	}
	return kept, syncPath(filepath.Dir(path))
}

// freeName gives the first name that nothing has; there may be several within a second.
func freeName(path string, second int64, give func(name string) error) (name string, err error) {
	for i := range int64(100) {
		name = path + replacedMark + strconv.FormatInt(second+i, 10)
		if err = give(name); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return name, err
}

// unlinkable says that a file system has no second names for this file: some of FUSE, CIFS and FAT have none, and
// Linux gives none of another user's file (protected_hardlinks).
func unlinkable(err error) bool {
	return slices.ContainsFunc([]error{syscall.EPERM, syscall.EOPNOTSUPP, syscall.EXDEV, syscall.ENOSYS},
		func(no error) bool { return errors.Is(err, no) })
}

// keepCopy is keep where there are no second names. A copy has its name only when it is whole and on the disk; a crash
// before that leaves a temporary file, which goes with a later start. path itself is only read.
func (o Options) keepCopy(ctx context.Context, path string) (kept string, err error) {
	temp := tempName(path)
	defer os.Remove(temp)
	err = copyFile(ctx, path, temp)
	if err == nil {
		err = owned(temp, path)
	}
	if err == nil {
		err = syncPath(temp)
	}
	if err == nil {
		kept, err = freeName(path, o.Now().Unix(), func(name string) error { return renameNew(temp, name) })
	}
	if err != nil {
		return "", fmt.Errorf("a copy of it, on a file system without hard links: %w", plainError(err))
	}
	return kept, nil
}

// copyFile copies into a new file that nobody else may read.
func copyFile(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, untilDone{ctx, in})
	return errors.Join(err, out.Close())
}
