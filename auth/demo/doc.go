// Package demo is the embedded OpenID provider for trying hostedmcp out: no account, no Keycloak, one command. It is a
// real provider (zitadel's op does the protocol) with two made-up users, on a loopback listener of its own, and beside
// it a CRM with their made-up sales records, so that there is something to ask.
//
// It keeps no table. From a 32-byte key that belongs to the store it derives its signing key and its client's secret,
// and with it it seals what a provider usually remembers, so that a restart forgets nothing and another key knows
// nothing:
//
//	sealed as  lives                 where it travels                holds
//	request    30 min                /login, hidden form field       what the client asked, hash of the browser's cookie
//	answer     60 s                  /login → /authorize/callback    the same, and who signed in
//	code       60 s                  redirect to the client          the same, and the id of the session
//	refresh    as long as the user   token answer                    session, subject, scopes
//
// Access tokens are JWTs (ES256); their jti names the session. Two things are kept in memory only: the codes already
// spent (each for its minute) and the sessions revoked (the newest 10,000). After a restart a code could be spent a
// second time within its minute, and a token revoked before would be answered again by whoever still held it; a
// store would close both, and a demonstration does not need one.
//
//	path                               methods    answers
//	/.well-known/openid-configuration  GET        discovery (OpenID Connect Discovery 1.0), with RFC 9207's flag
//	/keys                              GET        the public signing key
//	/authorize                         GET        303 /login; S256 required (RFC 7636); redirects carry iss (RFC 9207)
//	/login                             GET POST   the sign-in page, bound to the browser by the cookie demo_signin
//	/authorize/callback                GET        302 to the client with its code
//	/token                             POST       authorization_code (single use), refresh_token (not rotated)
//	/userinfo                          GET POST   name, preferred_username, email, email_verified, groups
//	/revoke                            POST       RFC 7009; ends the whole session
//	/static/                           GET        style sheet and mark, from the handler that main gives
//	/crm/openapi.json                  GET        the CRM's OpenAPI 3.1 document, byte for byte the same everywhere
//	/crm/...                           GET POST   what the document says; only with an access token of this provider
//	                                   PATCH
//
// The CRM's records are made for each request, out of the user's name and today's date: nothing is stored, every start
// shows the same, and deals close this month whenever this month is. What is written (log_activity, update_deal) is
// kept in memory, the newest 200 activities a user, and is gone with the process.
//
// It refuses any address but loopback: everybody who reaches it may sign in as anybody.
//
// zitadel's op logs through slog.Default(), requests and parent errors included. main therefore sets a default that
// drops the attributes auth_request and oidc_error.parent; nothing this package hands to op carries a secret there: op
// does not even see a request's state.
package demo
