// Package admin is the operator's door: what somebody at a shell of the machine asks of hostedmcp, and the strict
// reader of its configuration file.
//
// # The way of an operation
//
//	Run ── command.go, cmd*.go: flags, questions, tables, progress
//	 │
//	client ── HTTP and JSON ──┬── unix socket ── Listen (socket.go, peer.go) ── the server that runs
//	                          └── in memory (inmemory.go) ── the closed file, when no server listens
//	                                            │
//	                              Door (door.go, op*.go): bounds, one line in the log, the store
//
// Both ways lead through the same handler, so that an operation on the closed file answers byte for byte as on the
// server. `restore` works on the closed file alone, `check` (check*.go) looks from outside.
//
// # Operations
//
//	GET  /v1/ping                     who answers
//	GET  /v1/explain?word&limit       stories of what a word means
//	GET  /v1/grants?subject&client&state&after&limit
//	GET  /v1/grants/{id}
//	POST /v1/grants/{id}/end
//	GET  /v1/users?word               whom a word means
//	POST /v1/users/end                {"subject"}
//	POST /v1/backup                   the file
//	POST /v1/keys/{master|data|signing}  {"new_key_file"}: lines of JSON, the last one says how it ended
//	POST /v1/clock                    the clock is right
//	GET  /v1/tools?connector&tool     changed definitions, and their digest
//	GET  /v1/tools/list?connector     what is pinned
//	POST /v1/tools                    {"connector","tool","digest"}: serve them
//	POST /v1/tools/forget             {"connector","tool"}: what comes next is a first sight
//
// An error is {"error","request"} with a status of its own; its text is for the operator and names the fixing step.
//
// # Who may
//
// Whoever may connect may end every connection and read the store. The socket has mode 0600 in a folder that nobody
// else can write to, and of each caller the kernel is asked (SO_PEERCRED): only root and our own user are served.
//
// # Exit codes
//
// 0 for success, 1 for a fault (also a FAIL of check), 2 for a command line that cannot be meant (ExitCode).
//
// # Output
//
// What strangers have chosen (names of clients, users and tools) is printed without a character that a terminal obeys
// or does not show. For a person tables are aligned; in a pipe cells are separated by tabs and times are RFC 3339.
package admin
