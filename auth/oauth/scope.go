package oauth

// Scope is an ordered list of distinct scope names (RFC 6749 §3.3). nil is no scope.
type Scope []string
