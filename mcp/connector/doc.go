// Package connector is the vocabulary of connectors: their configuration, what a call to one carries, what one offers,
// who may see it, and the pins that hold its tool definitions. The kinds themselves are in sub-packages (mount for MCP
// servers, rest for APIs); package mcp serves them all.
//
// # The way of a call
//
//	client → mcp      bearer check, scope, era, Mcp-Param headers        package mcp
//	       → Policy   hidden, needs more scope, or allowed                policy.go, pattern.go
//	       → Pin      changed definitions are withheld until accepted     pin.go, pinstore.go, same.go
//	       → Source   Do, with the user's own credential                  source.go, call.go
//	       → back     the result as it came, but for white space
//
// A Source knows neither policy nor prefixes nor other connectors: it speaks in its own names and returns raw JSON.
// What two readers of JSON could read in two ways is refused at its border (connector_bad_answer).
//
// Sources: MCP 2024-11-05 to 2026-07-28 (server features, client features), RFC 8693 (token exchange), protocol.md §9.
package connector
