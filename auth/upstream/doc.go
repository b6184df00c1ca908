// Package upstream is the relying party: everything that is said to the OpenID provider, and the judgement of what
// it answers. It is the only package that imports zitadel's client.
//
// It keeps no table and holds no lock over a grant. What it promises its caller, the authorization server:
//
//	AuthURL        where to send the browser; nothing of the client's goes along
//	Exchange       one code for tokens; Good only with an id_token that holds
//	Refresh        one refresh token, sent exactly once; tokens come back before any id_token is judged
//	Revoke         at revocation_endpoint only; never the logout endpoint, which ends other applications' sessions
//	Userinfo       what the provider says of the user now
//	CheckIss       the iss parameter of a redirect (RFC 9207)
//	TokenExchange  a user's token for one that another service takes (RFC 8693)
//	Check          what is wrong between the provider and us, for the operator
//
// Discovery is lazy: New does no I/O, the first need fetches, trouble is remembered and answered from memory until the
// next attempt is due (1 s to 2 min, jittered), and a good copy is used for ever while a newer one is fetched in the
// background once a day. The key set behaves the same, with its own brake.
//
// The library builds and sends the requests. Its errors and its token reader are not used: an error of its carries no
// status and sometimes a body with tokens, its reader refuses a whole answer over one odd member and reckons with the
// real time. A transport of ours notes status, body, Retry-After and whether the request was written (wire.go); tokens
// are read from that (answer.go), the verdict is a table (classify.go), the id_token is judged in idtoken.go.
// No text of the provider's leaves the package but the tokens and claims themselves.
//
// Sources: OpenID Connect Core 1.0 and Discovery 1.0, RFC 6749, RFC 7009, RFC 7515, RFC 7517, RFC 7636,
// RFC 8693, RFC 9207.
package upstream
