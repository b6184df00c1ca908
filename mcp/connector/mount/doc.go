// Package mount speaks to mounted MCP servers, over Streamable HTTP and over stdio, in both eras of the protocol. It is
// a raw client: definitions and results pass as the server wrote them, but for white space, and for the credential of a
// call where the server repeats it (secrets.go).
//
// # The way of a call
//
//	source.go    Do: registered under its grant and session, link found, sent, once more if it was surely not carried out
//	slot.go      one link for each downstream session, else for each grant: made once, kept, closed when idle; a user has a
//	             share of the places
//	era.go       which era the server speaks: asked at the first connect, remembered
//	params.go    `_meta` written anew: version, capabilities, progress token, identity; level.go: how much is logged
//	link.go      a call under way: ids, progress, deadline, what the server tells and asks meanwhile
//	http.go      POST, its answer as JSON or as a stream (sse.go); httplink.go: session, standing stream, end
//	stdio.go     lines over pipes; child.go: the process; spawner.go: why none outlives us
//	catalog.go   what is offered to whom; memory.go: not asked anew for each call; definitions.go: each kept once
//
// # Who gets what
//
// Ids are ours and unique within a Source, so equal ids of clients never meet. Over HTTP, what a server says on the
// stream of a POST belongs to that call. Over stdio, progress belongs to its token, and everything else to the link,
// which serves one downstream session or one grant only: to its newest call that runs. No link is ever shared by two
// users, nor by two clients of one user.
//
// # What is believed
//
// Every message is checked in one pass (scan.go) before anything reads it: UTF-8, depth, duplicate names, size. A server
// that breaks a rule gets its call an error of reason connector_bad_answer; one that is not there,
// connector_unreachable. Neither touches another link.
//
// # Children
//
// A stdio server gets the configured environment and nothing else, and its own process group. It ends by its stdin,
// then SIGTERM, then SIGKILL to the group. Were we killed by SIGKILL ourselves, the kernel kills it (Pdeathsig), its
// own children see their stdin end, and the systemd unit's control group takes the rest.
//
// Sources: MCP 2025-03-26 to 2026-07-28 ("Transports", "Lifecycle", "Versioning", "Multi Round-Trip Requests",
// "Cancellation", "Progress"), JSON-RPC 2.0, WHATWG HTML "Server-sent events", RFC 9110.
package mount
