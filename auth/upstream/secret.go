package upstream

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"hostedmcp/auth/oauth"
)

// maxSecret is the longest secret file read, in bytes.
const maxSecret = 64 << 10

// credentials is where systemd puts the credentials of a service, each service's in a folder that nobody else enters
// (systemd.exec(5), LoadCredential). Their modes are systemd's own affair: its access lists show as group bits.
const credentials = "/run/credentials/"

// ReadSecret reads a credential from a file that only its owner may read, without one trailing newline; a file under
// /run/credentials is systemd's, whatever its mode. Every error is one line for the operator and names the command that
// fixes it; none holds the content.
func ReadSecret(path string) (oauth.Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	// The mode is that of the opened file: a path looked at twice could be two files.
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("read secret %s: not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 && !strings.HasPrefix(filepath.Clean(path), credentials) {
		return "", fmt.Errorf("read secret %s: others may read it: chmod 600 %s", path, path)
	}
	return readSecret(f, path)
}

func readSecret(r io.Reader, path string) (oauth.Secret, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read secret %s: %w", path, errors.Unwrap(err))
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("read secret %s: longer than %d bytes", path, maxSecret)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		return "", fmt.Errorf("read secret %s: it is empty: write the secret into it and chmod 600 %s", path, path)
	}
	return oauth.Secret(text), nil
}
