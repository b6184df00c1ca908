// Package mcp is the protected resource of hostedmcp: the MCP endpoint /mcp, its bearer check, both protocol eras, and
// the tools.
//
// # The way of a request (protocol.md §7)
//
//	1 place       Host 421, Origin 403                                   place.go
//	2 form        method 405, media type 415, declared size 413          place.go
//	3 bearer      401, 400 and 503 with their challenges                 bearer.go, challenge.go
//	  method      HEAD, and GET or DELETE of the modern era: 405         endpoint.go
//	4 message     JSON-RPC in one strict pass, era, header agreement     jsonscan.go, message.go, agree.go
//	5 scope       403 step-up                                            endpoint.go
//	6 provider    upstream token before dispatch: 401, 503               endpoint.go
//	7 dispatch    session, stream rules, SDK, middleware, tool           dispatch.go, sessions.go, writer.go, watch.go
//
// Each step may refuse; challenge.go is the one exit that writes refusals.
//
// # Eras
//
// Requests of protocol version 2026-07-28 and later go to a stateless SDK handler: one POST is the whole life of a
// request, and closing it cancels. Older ones go to a stateful handler with sessions (Mcp-Session-Id), which are bound
// to subject and client and never authenticate anybody.
//
// # Identity
//
// Every request is verified by itself, in a session too. Who asks travels to the tool as a Caller: the SDK carries it
// in RequestExtra.TokenInfo, one receiving middleware puts it into the context. A tool must not look elsewhere: in a
// session the SDK's context is that of the initialize request. Our bearer token and cookies never get past step 7.
//
// # Tools
//
// The SDK's server holds no tools. Ours are raw JSON (Tool), listed and called by the middleware out of one registry
// and by one predicate, so that a hidden tool is exactly a tool that does not exist.
//
// Sources: MCP 2025-03-26 to 2026-07-28 "Streamable HTTP" and "Authorization", RFC 6750 (bearer tokens), RFC 9728
// (protected resource metadata), RFC 9110 (HTTP), JSON-RPC 2.0.
package mcp
