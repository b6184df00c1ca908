// Package story tells the life of a connection in plain words: what happened and when, why it is in the state it is in,
// what its user sees, and which setting keeps it from happening again. The command `explain` and the status page both
// tell from here, and both from the journal, so that they cannot disagree.
package story
