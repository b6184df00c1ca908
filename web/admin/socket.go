package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The socket is the whole fence around the operations behind it: who may connect may end every connection and read
// the store. So there are three rails: the folder is nobody else's, the socket has mode 0600 from the moment that it
// exists, and the kernel is asked who called (SO_PEERCRED, unix(7)).

const (
	// maxSocketPath is what fits into sun_path with its closing zero (unix(7)).
	maxSocketPath = 107
	// dialWait is how long connecting may take. The kernel answers at once, so this is for the machine alone: one that
	// stands still for a second must not fail a command.
	dialWait = 10 * time.Second
	// turnAwayWait is how long one who may not connect has to take our answer. Others wait meanwhile.
	turnAwayWait = time.Second
	// lockWait is how long another start may take over the same folder: to dial a stale socket, and to make a new one.
	lockWait = 3 * time.Second
)

// Listen opens the operator's socket at path, with mode 0600, and makes its folder (0700) if there is none. A socket
// that a killed server left is replaced; one that is answered is refused, as is a folder that others can write to.
// The listener takes only connections of root and of our own user; RemoteAddr of one says who called. Closing it
// removes the socket. Each error is one line with the fixing step.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("admin.socket %s: longer than %d bytes, which is all that a unix socket's name may have: "+
			"set admin.socket to a shorter path", path, maxSocketPath)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("admin.socket: %w: make the folder, or set admin.socket to another path", err)
	}
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	// From here to the new socket nobody else may look: what is stale for one must not be replaced by two.
	unlock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := clearWay(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: closeSocketMode}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin.socket %s: %w: let the user who runs hostedmcp write to %s", path, plain(err), dir)
	}
	// For kernels that give the file its own mode whatever that of the descriptor.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin.socket: %w", err), l.Close())
	}
	return &peerListener{l}, nil
}

// closeSocketMode runs before bind, which takes the file's mode from the descriptor: no moment is left in which
// others could connect.
func closeSocketMode(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
		return e
	}
	return err
}

// checkFolder refuses a folder in which somebody else could put a socket of his own in place of ours.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("admin.socket: %w", err)
	}
	// root could do anything anyway; a folder of root that only root writes to (/run) is as good as our own
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("admin.socket: the folder %s belongs to another user (uid %d), who could take the socket's place: "+
			"chown it to the user who runs hostedmcp, or set admin.socket to another path", dir, owner.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("admin.socket: others can write to the folder %s (mode %#o), and could take the socket's place: "+
			"chmod go-w %s, or set admin.socket to another path", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// lockFolder holds the folder while one process looks whether the socket is stale and replaces it. Without it two that
// start at once could each remove the other's.
func lockFolder(dir string) (unlock func(), err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = flockSoon(fd)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("admin.socket: another process keeps the folder %s locked: stop it (fuser %s names it), or chmod 700 %s",
			dir, dir, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("admin.socket: the folder %s cannot be locked (%w): set admin.socket to a path on a local disk", dir, err)
	}
	return func() { _ = unix.Close(fd) }, nil
}

// flockSoon takes the lock, or gives up: who may read the folder may lock it, and a start must not wait for a stranger.
func flockSoon(fd int) (err error) {
	for end := time.Now().Add(lockWait); ; time.Sleep(lockWait / 50) {
		if err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
	}
}

// clearWay removes what a killed server left. Only a refused connection is proof that nobody listens: a full queue or
// a slow answer is a server that lives.
func clearWay(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("admin.socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("admin.socket: %s is there and is no socket: move it away, or set admin.socket to another path", path)
	}
	// Somebody has to answer, or at least hold it: the file itself does not say whether its server lives.
	conn, err := net.DialTimeout("unix", path, dialWait)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			_ = conn.Close()
		}
		return fmt.Errorf("admin.socket: another hostedmcp answers at %s: stop it, or give this one another data_dir or admin.socket", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("admin.socket: %w", err)
	}
	return nil
}

// plain is the system's own words, without the path that the line around it has.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
