package oauth

import (
	"encoding/json"
	"log/slog"
)

// Secret is a credential. It prints, logs and marshals as "[redacted]", so that only code which asks for the value
// with Reveal can show it. The zero value is no credential.
type Secret string

const redacted = "[redacted]"

// Reveal returns the credential itself, for the one place that sends or seals it.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
