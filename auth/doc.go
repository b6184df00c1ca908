// Package auth is the authorization server of hostedmcp: an OAuth 2.1 server for MCP clients whose users sign in at an
// OpenID provider (Keycloak). Clients get tokens of ours and never see one of the provider's.
//
// # Endpoints
//
//	/.well-known/oauth-authorization-server       metadata.go    RFC 8414
//	/.well-known/oauth-protected-resource[/mcp]   metadata.go    RFC 9728
//	/jwks                                         metadata.go    RFC 7517
//	/register                                     register.go    RFC 7591
//	/authorize                                    authorize.go   RFC 6749 §4.1, RFC 7636, RFC 8707
//	/consent                                      consent.go     the answer to the consent page
//	/callback                                     callback.go    the provider's answer; RFC 9207
//	/token                                        token.go, refresh.go   RFC 6749 §3.2, RFC 9700 §4.14
//	/revoke                                       revoke.go      RFC 7009
//	/status, /signin, /signout, /grants/end       status.go, signin.go
//
// Server.Verify (verify.go), Server.UpstreamToken (upstreamtoken.go) and Server.Ended (observer.go) are what the MCP
// endpoint asks.
//
// # The life of a grant
//
//	/authorize   nothing is stored: the request travels in the consent form as a sealed ticket (ticket.go)
//	/consent     Allow stores the request, bound to this browser, and sends it to the provider
//	/callback    the provider's code becomes upstream tokens; one commit makes the grant, with a code of ours
//	/token       the code becomes the first pair: refresh token of generation 1, access token naming it
//	/mcp         every call reads the grant: once it has ended, its access tokens are dead
//	/token       refresh: the verdict is the store's; the provider is asked first if its token is due (flight.go)
//	the end      one transition with one reason; the upstream token is given back to the provider afterwards (loop.go)
//
// # Where a rule lives
//
// Who may ask: client.go, clientauth.go. Which browser: cookies.go, form.go. Who may sign in: access.go. What a refresh
// token says: refreshtoken.go; an access token: accesstoken.go. What the provider's answer does to a grant: settle.go;
// a grant in doubt: doubt.go; a provider on a wrong database: suspects.go. Errors leave as *oauth.Error; the pipeline's
// one exit (package web) writes them.
package auth
