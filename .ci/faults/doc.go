// Command faults attacks a running hostedmcp and holds it to its promise: nobody is logged out who need not be.
//
//	go run ./.ci/faults CAMPAIGN [flags]
//
//	crash      SIGKILL under load, at gates of the provider, during logins; with -strace at every k-th system call
//	cuts       the connection is cut at every byte of the /token exchange, on either side of the server
//	storm      1,000 callers at once when a token is due
//	outage     the provider away, in each way that providers go away
//	disk       full, read-only and failing disks
//	keycloak   crash against a running Keycloak
//	backup     copies of a server under load, cut off, and restored: who lived then goes on, who has ended stays so
//	rotate     master, data and signing key replaced under load, with SIGKILL in the middle; the old keys are worthless
//	operator   users off-boarded, the clock accepted, refusals explained; the same on the closed file
//	secrets    everything said and stored in one run at level debug, searched for every credential in it
//
// Each campaign builds the program (or takes -bin), runs it as a child process on loopback with a data folder of its
// own, and puts clients on it that behave as real ones do: they keep their credentials in a file, refresh before
// expiry, repeat a refresh with the same token when it is not answered, and never open a browser unless they are told
// invalid_grant. That is what counts as lost. Who had to be lost is decided by the provider's log alone, never by the
// server's.
//
// The last four work as an operator does, by the commands of the binary. In hours rather than minutes: -kills 3000,
// -rounds 100, -clients 500.
//
// The exit code is 1 after any violation. -seed repeats the random choices of a run; the timing of two runs is never
// the same.
//
// crash.go with kill.go and guests.go, strace.go, cuts.go, storm.go, outage.go, disk.go and keycloak.go are the
// campaigns of faults; backup.go with fates.go, rotate.go with rotated.go, and ends.go those of operations, operator.go
// the commands that they use; secrets.go with mistakes.go and operated.go is the run that is searched, recorder.go and
// connectors.go what sees its credentials, scan.go the search; server.go is the process under test, client.go and fleet.go the load, ledger.go and lives.go the proof,
// proxy.go the network in between.
package main
