// Command load puts many users at once on a running hostedmcp with three connectors mounted, and judges what each of
// them hears.
//
//	go run ./.ci/load [flags] [isolation] [fidelity] [bench]
//
//	isolation  200 users with equal ids and progress tokens, each kind of connector, both eras on both sides: whatever
//	           reaches a user is that user's own, and so is what reaches the connector in the user's name
//	fidelity   generated definitions and results, through both kinds of mount and in all eras: byte for byte as the
//	           connector wrote them, but for white space, the name and the era's own members
//	bench      calls straight to the connectors beside calls through hostedmcp, in turns, and what many users and many
//	           tools hold in memory; printed, not judged: machines are noisy
//
// The provider, the mounted MCP server over HTTP and the REST API run in this process, so that they know what must come;
// over stdio this program is its own child. Users are raw HTTP clients: an SDK would hide what was not meant for them.
// All that is said for a user carries the user's name, so any other user's name in any byte that arrives is a leak.
//
// The short form is the one of .ci/isolation. By hand, with an idle machine:
//
//	go run ./.ci/load -calls 50 -bench 5000 -memory 1000
//
// client.go, session.go and judge.go are the users; upstream.go with upstreamhttp.go and upstreamstdio.go the mounted
// server, rest.go the API; isolation.go, strangers.go, fidelity.go, bench.go and memory.go the campaigns.
package main
