package admin

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// peerListener hands out only connections of root and of our own user. The mode of the socket says the same; this
// holds when somebody changed it.
type peerListener struct{ net.Listener }

// Accept waits for a caller who may. Others are told why not.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(conn)
		if err == nil && p.allowed(os.Geteuid()) {
			return &peerConn{conn, p}, nil
		}
		// no log line for it: who may not connect must not be able to fill the disk either
		turnAway(conn)
	}
}

// turnAway answers without reading: what a stranger sends is nobody's business here. The answer fits into the
// socket's buffer; the deadline is for one that does not even take that.
func turnAway(conn net.Conn) {
	const text = `{"error":"only root and the user who runs hostedmcp may use this socket"}`
	_ = conn.SetDeadline(time.Now().Add(turnAwayWait))
	_, _ = io.WriteString(conn, fmt.Sprintf("HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text))
	_ = conn.Close()
}

// peer is who opened a connection, as the kernel knows it: nothing of it is the caller's own word.
type peer struct{ uid, pid int }

// peerOf asks the kernel (SO_PEERCRED): the credentials of the moment of connect(2).
func peerOf(conn net.Conn) (peer, error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return peer{}, fmt.Errorf("no unix socket: %T", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return peer{}, err
	}
	if credErr != nil {
		return peer{}, credErr
	}
	return peer{int(cred.Uid), int(cred.Pid)}, nil
}

// allowed reports whether a server of user self serves this caller.
func (p peer) allowed(self int) bool { return p.uid == 0 || p.uid == self }

// Network implements net.Addr.
func (p peer) Network() string { return "unix" }

// String is what a log line says of the caller.
func (p peer) String() string { return fmt.Sprintf("uid=%d pid=%d", p.uid, p.pid) }

// peerConn is a connection that knows its caller: http.Request.RemoteAddr becomes "uid=0 pid=4711".
type peerConn struct {
	net.Conn
	peer peer
}

// RemoteAddr implements net.Conn. The address of a client's end of a unix socket is empty otherwise.
func (c *peerConn) RemoteAddr() net.Addr { return c.peer }
