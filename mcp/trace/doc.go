// Package trace is the command `hostedmcp trace URL`: a client's eye view of any MCP server. It walks the way that an
// MCP client walks, from the first 401 to a tool call and back to nothing left behind, and says of each step what was
// expected and by whom, what came, and the verdict. The faulty step is named in the last line.
//
// # The steps
//
// rules.go has each with its expectation and source. They come in this order; one that cannot be made without the one
// before is not reached, the others go on, so that one run finds more than one fault.
//
//	reach, tls                                 reach.go       the connection
//	challenge, bad token                       challenge.go   RFC 6750, RFC 9728
//	resource metadata                          resource.go    RFC 9728
//	server metadata                            server.go      RFC 8414
//	registration                               register.go    RFC 7591, client ID metadata documents
//	authorize, callback                        authorize.go   RFC 6749, RFC 7636, RFC 8707, RFC 9207
//	token, refresh, retry, revoke              token.go       RFC 6749, RFC 7009
//	initialize, server/discover, tools, call   mcp.go         MCP, both eras
//
// A server that asks for no authorization passes the steps of the connection and of MCP.
//
// # As whom
//
// clients.go holds how known clients behave: what they register, where they want the answer, what they ask and in which
// era they speak (protocol.md §3.5 and recordings of the real ones).
//
// # What it never shows
//
// Tokens, codes, verifiers and secrets are printed as length and fingerprint; bodies are not printed at all, and of
// what a server says only known fields, shortened, without control characters (secrets.go). Every answer is bounded in
// size and time. Addresses are not judged: the operator chooses whom to trace.
package trace
