// Package cimd fetches client ID metadata documents: a client whose client_id is an https URL describes itself in the
// JSON document behind that URL (draft-ietf-oauth-client-id-metadata-document, SEP-991). It is the only package that
// connects to an address which a stranger chose.
//
// What it promises (protocol.md §3.3):
//
//   - only globally routable unicast addresses are connected to, judged when the connection is made and not when the
//     name is looked up, so that no DNS answer can change in between; environment proxies are ignored;
//   - one GET over TLS, no redirects, a bounded answer within a bounded time, few at once, few to one host;
//   - a document that passed every rule or an error; no error holds a byte of the document;
//   - a host that is down or confused does not lock its users out: the last good copy serves on for Config.Stale, and
//     the binary carries the documents of clients that cannot do without.
//
// The way of one Fetch: fresh copy in memory or storage → failure of the last minute → one flight per URL (rate, slot,
// guarded dial, answer, document) → last good copy → built-in copy → error.
package cimd
