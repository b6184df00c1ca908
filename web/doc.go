// Package web is what a browser sees of hostedmcp, and the request pipeline of every listener.
//
// Pages ([Pages]): landing, consent, sign-in, my connections, everybody's connections for operators, errors, and the
// demo provider's sign-in. They are html/template files over one base layout and one stylesheet; no script, no remote
// asset, a strict Content-Security-Policy (protocol.md §4.3). It is the only package that imports html/template.
//
// Pipeline ([NewHandler]): the endpoint table of protocol.md §1 comes in as rows ([auth.Endpoint]) and every request
// goes through the same steps, once:
//
//	1 request id, address behind trusted proxies, trace id      request.go
//	2 exact path: 404, never a redirect                         mux.go
//	3 loopback issuer: a page under another host goes there     mux.go
//	4 CORS headers, preflight                                   cors.go
//	5 method: 405 with Allow                                    mux.go
//	6 forms: media type, no query                               mux.go
//	7 body: size, time                                          body.go
//	8 the row's Handle; its error leaves by the one exit        exit.go
//	9 recover, one log line, metrics                            server.go
//	10 what was refused is remembered for `explain`             refusals.go
//
// Nothing a client sends (Host, Forwarded, X-Forwarded-*, X-Request-Id) changes an answer: URLs come from [Site] alone.
//
// Listeners ([Bind]): timeouts, certificates that are reloaded when their files change (tls.go) or come from an authority
// (acme.go; no other package imports its client), a drain of at most 10 s.
package web
