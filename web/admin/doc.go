// Package admin is the operator's door: what somebody at a shell of the machine asks of hostedmcp. It holds the strict
// reader of the configuration file; the unix socket and the commands behind it join it with the issue on operation.
package admin
