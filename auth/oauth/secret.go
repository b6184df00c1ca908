package oauth

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a credential. It prints, logs and marshals as "[redacted]", so that only code which asks for the value
// with Reveal can show it. The zero value is no credential.
type Secret string

const redacted = "[redacted]"

// Reveal returns the credential itself, for the one place that sends or seals it.
func (s Secret) Reveal() string { return string(s) }

// Format redacts under every verb: with a wrong one (%d) fmt would go past String and print the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String redacts for what asks for a string without fmt.
func (s Secret) String() string { return redacted }

// GoString redacts for printers of Go syntax that go past Format.
func (s Secret) GoString() string { return redacted }

// LogValue redacts in slog, whatever its handler.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON redacts in JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
