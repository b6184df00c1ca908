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
//	/status, /grants/end                          status.go      one's own connections; operator.go: everybody's
//	/signin, /signout                             signin.go      the status page's sign-in
//
// server.go has the rows with their methods and sizes (endpoint.go says what a row means; package web enforces it).
// Server.Verify, Server.Claims (verify.go), Server.UpstreamToken, Server.Userinfo (upstreamtoken.go),
// Server.ExchangedToken (exchange.go), Server.TokenRefused (refused.go), Server.Ended (observer.go) and Server.FirstCall (server.go) are what the MCP
// endpoint and connectors ask; Server.EndByOperator and Server.EndSubject (operator.go) what commands do.
//
// # The life of a grant
//
//	/authorize   nothing is stored: the request travels in the consent form as a sealed ticket (ticket.go)
//	/consent     Allow stores the request, bound to this browser, and sends it to the provider
//	/callback    the provider's code becomes upstream tokens; one commit makes the grant, with a code of ours
//	/token       the code becomes the first pair: refresh token of generation 1, access token naming it
//	/mcp         every call reads the grant: once it has ended, its access tokens are dead
//	/token       refresh: the verdict is the store's; the provider is asked first if its token is due (refresh.go)
//	the end      one transition with one reason; the upstream token is given back to the provider afterwards (loop.go)
//
// # Where a rule lives
//
//	which programs may ask, how they prove who they are    client.go, clientauth.go
//	which browser a form or an answer comes from           cookies.go, form.go
//	who may sign in                                        access.go
//	what a refresh token says, what an access token        refreshtoken.go, accesstoken.go
//	how often somebody may ask, what the keys may be       ratelimit.go, limitsconfig.go, config.go
//
// The provider's tokens have files of their own (protocol.md §8). flight.go: one flight for a grant, and what answers
// without one. ask.go: the one request, its intent before it. settle.go: what the answer does to the grant. pause.go:
// how long a grant rests after a failure. doubt.go: an answer that may have been lost, in this run or an earlier one.
// suspects.go: a provider on a wrong database. loop.go: keep-alive, sweep, and the tokens of ended grants. exchange.go:
// tokens for a connector's own audience (RFC 8693), in memory alone. refused.go: what an API says against either.
//
// request.go is what a request notes for its log line, observer.go what follows from the journal, metrics.go and scrape.go
// the other numbers, pages.go and identity.go what leaves this package. pagegrant.go puts a connection into the words of
// package story, which the command `explain` uses too; health.go says how provider and store are doing. Errors leave as *oauth.Error; the pipeline's one exit
// (package web) writes them.
package auth
