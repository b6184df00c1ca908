// Package rest turns REST APIs into tools: each operation of an OpenAPI document (3.0 or 3.1) becomes one tool, and each
// call of it one HTTP request, sent as the user who asks.
//
// # The way of a document
//
//	file or pinned URL → nodes    order and digits kept            load.go, node.go, yaml.go
//	                   → operations                                document.go, operation.go
//	                   → arguments: one property a parameter,
//	                     "body" for the body                       arguments.go
//	                   → schemas in JSON Schema 2020-12            toolschema.go, schema.go, translate.go, sound.go
//
// A pinned document is held against its hash before anything of it is read. No reference leaves the document. What
// cannot become a tool is left out and named, with its place; the rest works.
//
// # The way of a call
//
//	arguments → judged by the tool's inputSchema                   request.go
//	          → request: each value encoded whole, in its place    style.go, request.go
//	          → headers built anew: credential, who asks           source.go
//	          → answer: bounded, without the credential if the
//	            API repeats it, as structure and as text           answer.go, compact.go
//
// No argument reaches another host, path, header or line than its own. What the API refuses is a result with isError
// that begins with the status; only what is not the API's answer (no way to it, unreadable) is an error of the
// connector. Redirects are not followed: the credential is the API's alone. What may have
// had an effect is not tried again; a 401 had none, and is tried once more if there is another credential.
//
// Sources: OpenAPI 3.0.4 and 3.1.1, JSON Schema 2020-12, RFC 3986 (URI), RFC 6570 as OpenAPI uses it, RFC 7578
// (multipart), RFC 8288 (Link), RFC 9110 (HTTP), MCP "Tools".
package rest
