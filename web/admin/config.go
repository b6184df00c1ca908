package admin

import (
	"errors"
	"path/filepath"
	"strings"
)

// The section [admin] has one key. There is no switch to turn the socket off: without it the operations would need the
// server to be stopped, and with it nobody can do what he could not do to the files beside it.

// Config is the section `[admin]` of the configuration.
type Config struct {
	// Socket is the path of the operator's unix socket. "" = admin.sock in data_dir.
	Socket string `toml:"socket"`
}

// DefaultConfig returns the socket beside the store (protocol.md §9).
func DefaultConfig() Config { return Config{} }

// Validate reports a socket that is no file: names of the abstract kind have no mode, so that nothing would keep
// strangers away from them.
func (c Config) Validate() error {
	switch {
	case strings.HasPrefix(c.Socket, "@"), strings.ContainsRune(c.Socket, 0):
		return errors.New("admin.socket: must be the path of a file, such as /run/hostedmcp/admin.sock")
	case strings.HasSuffix(c.Socket, "/"):
		return errors.New("admin.socket: names a folder: write the path of the socket itself, such as /run/hostedmcp/admin.sock")
	}
	return nil
}

// Path is where the socket lies, given data_dir.
func (c Config) Path(dataDir string) string {
	if c.Socket == "" {
		return filepath.Join(dataDir, "admin.sock")
	}
	return c.Socket
}
