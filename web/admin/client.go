package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"hostedmcp/storage"
)

// A command does not care whether a server runs. It asks a door by HTTP; only where the connection leads differs. The
// order of looking matters: the socket first, since opening the file of a running server would wait for its lock and
// then fail, and only a socket that is not there, or that refuses, counts as "no server". Anything in doubt is an error
// that says what to do: to open the file under a server that only seems dead would be worse than to do nothing.

// client asks a door: that of a server that runs, or one in memory on the file that no server holds.
type client struct {
	http  *http.Client
	live  *pong // nil = a closed file
	close func() error
}

// errNoServer says that nobody listens at the socket.
var errNoServer = errors.New("no hostedmcp is running")

// connect finds the server, or opens the file.
func (c *call) connect(ctx context.Context) (*client, error) {
	live, err := c.dial(ctx)
	if !errors.Is(err, errNoServer) {
		return live, err
	}
	return c.openFile(ctx)
}

// dial asks who answers at the socket. Errors: errNoServer, and what keeps us from asking.
func (c *call) dial(ctx context.Context) (*client, error) {
	path := c.env.Socket
	if path == "" {
		return nil, errNoServer
	}
	// One connection for all that a command asks; whatever the URL's host is, it leads to the socket.
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: dialWait}).DialContext(ctx, "unix", path)
	}}
	a := &client{
		http:  &http.Client{Transport: transport},
		close: func() error { transport.CloseIdleConnections(); return nil },
	}
	ctx, cancel := context.WithTimeout(ctx, shortTime)
	defer cancel()
	live := &pong{}
	// A ping first: nothing is asked of whoever it is before we know that it is a hostedmcp.
	_, err := a.get(ctx, "/v1/ping", live)
	switch {
	// No socket, or one that a killed server left. All else is no proof that the file is free.
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, errNoServer
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: not allowed: run this as root, or as the user who runs hostedmcp%s", path, ownerHint(path))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case live.Server != serverName:
		return nil, fmt.Errorf("%s: another program answers there: set admin.socket to another path", path)
	}
	a.live = live
	return a, nil
}

// ownerHint names the user to become, if the system tells.
func ownerHint(path string) string {
	// the socket may lie in a folder that we may not look into: then its owner is the one to become
	for ; ; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err == nil {
			if owner, ok := info.Sys().(*syscall.Stat_t); ok {
				return fmt.Sprintf(": sudo -u '#%d' hostedmcp", owner.Uid)
			}
			return ""
		}
		if path == filepath.Dir(path) {
			return ""
		}
	}
}

// storeFile is the store's name in data_dir. Opening would make a file where there is none, which is the server's
// business: a command with a wrong data_dir must not.
const storeFile = "hostedmcp.db"

// openFile stands a door on the closed file.
func (c *call) openFile(ctx context.Context) (*client, error) {
	// Before Open, which would make folder, store and key.
	if c.env.Options != nil {
		path := filepath.Join(c.env.Options().Dir, storeFile)
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("no hostedmcp is running, and there is no store: %w: is data_dir right, and may you read it?", err)
		}
	}
	store, err := c.env.Open(ctx)
	if errors.Is(err, storage.ErrLocked) {
		return nil, fmt.Errorf("a hostedmcp has the store open, but none answers at %s: is admin.socket the same in its "+
			"configuration? Else wait, or stop it", c.env.Socket)
	}
	if err != nil {
		return nil, err
	}
	// Nobody reads a log of ours here: what the operation does is in the journal, under its request id.
	door := NewDoor(Options{
		Store: store, Site: c.env.Site, Retire: c.env.Retire, Hidden: c.env.Hidden, Log: slog.New(slog.DiscardHandler),
	})
	transport := &inMemory{handler: door.Handler()}
	return &client{http: &http.Client{Transport: transport}, close: func() error {
		transport.running.Wait() // an operation that nobody waits for any more still has the store in its hands
		return store.Close()
	}}, nil
}

// maxAnswer bounds an answer that is kept in memory.
const maxAnswer = 256 << 20

// get asks for an answer in JSON and decodes it; raw is what came.
func (a *client) get(ctx context.Context, path string, into any) (raw []byte, err error) {
	return a.ask(ctx, http.MethodGet, path, nil, into)
}

// post does something and decodes the answer.
func (a *client) post(ctx context.Context, path string, body, into any) (raw []byte, err error) {
	return a.ask(ctx, http.MethodPost, path, body, into)
}

// ask reads an answer whole before it is decoded: half of one is an error, never a shorter list.
func (a *client) ask(ctx context.Context, method, path string, body, into any) ([]byte, error) {
	res, err := a.do(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	// chunked: a connection that breaks is an error here
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer was cut off: %w", err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return nil, fmt.Errorf("%w: %w", errForeign, err)
	}
	return raw, nil
}

// errForeign is what a server of another version looks like.
var errForeign = errors.New("the answer cannot be read: use the binary that the server runs, or restart the server")

// do sends a request; an answer other than 200 is an error with the words of the door.
func (a *client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+serverName+path, content)
	if err != nil {
		return nil, err
	}
	res, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	var f failure
	if json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&f) != nil || f.Error == "" {
		return nil, fmt.Errorf("%w (status %d)", errForeign, res.StatusCode)
	}
	// the text may hold a name that a stranger chose
	return nil, errors.New(escapedLine(f.Error))
}
