package oauth

// Level says how a Finding weighs: what exit code and colour follow from it.
type Level string

// The levels, as `hostedmcp check` prints them.
const (
	FindingOK   Level = "ok"
	FindingWarn Level = "warn" // it works, but not as well or as surely as it could; or it could not be looked at
	FindingFail Level = "FAIL" // somebody cannot sign in, or will be signed out
)

// Finding is one line of `hostedmcp check`. It holds no secret, and nothing of what a stranger wrote but names and
// numbers that were looked for.
type Finding struct {
	Level Level  `json:"level"`
	Name  string `json:"name"`          // what was looked at: short, lower case, constant: "refresh token issued"
	Text  string `json:"text"`          // what was found
	Fix   string `json:"fix,omitempty"` // the fixing step, of warn and FAIL; "" for ok
}

// Good is a finding with nothing to do.
func Good(name, text string) Finding { return Finding{Level: FindingOK, Name: name, Text: text} }

// Warn is a finding that somebody should look at; fix is the step that ends it.
func Warn(name, text, fix string) Finding {
	return Finding{Level: FindingWarn, Name: name, Text: text, Fix: fix}
}

// Bad is a finding that must be mended; fix is the step that does.
func Bad(name, text, fix string) Finding {
	return Finding{Level: FindingFail, Name: name, Text: text, Fix: fix}
}
