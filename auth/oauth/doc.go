// Package oauth is the shared vocabulary of hostedmcp: reason codes, protocol errors, parameters, PKCE, redirect
// URIs, scopes, resource indicators, and the strict JSON reader of what strangers send.
//
// It does no I/O and imports nothing of ours, so that every other package (storage included: its journal writes the
// same reason codes that the wire and the pages show) can speak it.
//
// Sources: RFC 6749 (OAuth 2.0), OAuth 2.1 draft, RFC 7636 (PKCE), RFC 7591 (registration), RFC 8252 (native apps),
// RFC 8707 (resource indicators), RFC 9207 (iss), RFC 9700 (security BCP).
package oauth
