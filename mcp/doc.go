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
//	  lookup      the tool, prompt or resource, if there is one for this caller; Mcp-Param headers   route.go, paramheader.go
//	5 scope       403 step-up                                            endpoint.go
//	6 provider    upstream token before dispatch: 401, 503               endpoint.go
//	7 dispatch    session, stream rules                                  dispatch.go, sessions.go, watch.go
//	  call        tools/call: the tool, and its answer                   straight.go, events.go, replay.go
//	  all else    the SDK, and our middleware inside it                  writer.go, receive.go
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
// Every request is verified by itself, in a session too. Who asks travels to the tool as a Caller in the context. Where
// the SDK is in between, it carries it in RequestExtra.TokenInfo, and one receiving middleware puts it into the context
// anew: in a session the SDK's own context is that of the initialize request. Our bearer token and cookies never get past
// step 7.
//
// # Answers
//
// A call of a tool is answered in one piece of JSON, unless something was said before its answer or it takes long: then
// the answer is a stream of events. In sessions of version 2025-11-25 such a stream can be taken up again when its
// connection breaks: the call goes on, and what it says is kept for a while (replay.go).
//
// # Tools
//
// The SDK's server holds no tools. Ours are raw JSON (Tool), listed and called out of one registry and by one predicate,
// so that a hidden tool is exactly a tool that does not exist. The SDK sees a call only if it has something to refuse.
//
// # Connectors
//
// What mounted servers and APIs offer comes through package connector, and from here on looks like ours:
//
//	mounted.go       one connector: whose names are whose, who may know of it, with which credential
//	catalog.go       its catalog as this server offers it: renamed, checked (definition.go), judged by rules and pins
//	route.go         which connector a request is for
//	forward.go       a call: limits (gate.go, clock.go), result (outgoing.go), errors, metrics
//	talk.go          what a connector tells and asks meanwhile: progress, logs, elicitation, sampling, roots
//	sessionpeer.go   how that reaches a client in a session: on the stream of its call, or on the session's own
//	conversation.go  how it reaches one of the modern era: the call waits here, the client comes back with the answer
//	requeststate.go  what a connector gives a client to bring back is bound to user, client and request
//	listen.go        subscriptions, and who hears that a list changed
//	families.go      prompts, resources, completion, logging; capabilities.go what is declared of them
//	status.go        what operators see, accept and check; grants.go what ends with a grant
//
// A name belongs to the connector with the longest prefix of it, whatever others offer and whoever is down. All
// messages between connector and client are raw JSON, written by us between those of the SDK, whose types would lose
// what they do not know.
//
// Sources: MCP 2025-03-26 to 2026-07-28 "Streamable HTTP" and "Authorization", RFC 6750 (bearer tokens), RFC 9728
// (protected resource metadata), RFC 9110 (HTTP), JSON-RPC 2.0.
package mcp
