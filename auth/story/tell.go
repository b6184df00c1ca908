package story

import (
	"slices"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// Tell tells the story of one connection. It reads nothing but what it is given and never fails: what is not known is
// not said.
func Tell(in Input) Story {
	reason, at := in.why()
	s := Story{
		Grant: Grant{
			ID: in.Grant.ID, Client: in.Grant.ClientID, ClientName: shown(in.Grant.ClientName), Scope: in.Grant.Scope,
			Created: in.Grant.Created, LastUse: in.Grant.LastUse, Ended: in.Grant.EndedAt, Generation: in.Grant.Gen,
		},
		User:   User{Subject: in.Grant.Subject, Name: shown(in.Identity.Name), Email: shown(in.Identity.Email)},
		State:  in.state(reason),
		Reason: reason, At: at,
		Lines: in.lines(),
	}
	s.Headline = in.headline(s)
	s.Word, s.Sees = in.sees(s)
	s.Advice = in.advice(s)
	return s
}

// why is the reason that a connection is in the state it is in, and since when. An end is the end. A trouble of this
// server stands before the grant's own: it may be what keeps the grant alive, or from working. A doubt without a failure
// comes from a store that was put back in time; the journal then says so, or nothing does.
func (in Input) why() (oauth.Reason, time.Time) {
	last, at := in.last()
	up := in.Upstream
	switch {
	case in.Grant.Ended != "":
		return in.Grant.Ended, in.Grant.EndedAt
	case in.Server != "":
		return in.Server, in.Now
	case up.Quarantined:
		return oauth.SubjectChanged, at
	case up.Trouble != "":
		return up.Trouble, up.TroubleSince
	case up.InDoubt && in.noted(oauth.RefreshAhead, up.DoubtSince):
		return oauth.RefreshAhead, up.DoubtSince
	case up.InDoubt:
		return oauth.Restored, up.DoubtSince
	}
	return last, at
}

// last is the latest event of the journal; a grant without one has at least been made.
func (in Input) last() (oauth.Reason, time.Time) {
	if n := len(in.Events); n > 0 {
		return in.Events[n-1].Reason, in.Events[n-1].Last
	}
	return oauth.OK, in.Grant.Created
}

// noted says whether the journal has an event of this reason since then.
func (in Input) noted(reason oauth.Reason, since time.Time) bool {
	return slices.ContainsFunc(in.Events, func(e storage.Event) bool { return e.Reason == reason && !e.Last.Before(since) })
}

// state is one of the four that a story ends in.
func (in Input) state(reason oauth.Reason) string {
	switch _, trouble := troubles[reason]; {
	case in.Grant.Ended != "":
		return Ended
	case trouble && (in.Server != "" || in.Upstream.InDoubt || in.Upstream.Quarantined || in.Upstream.Trouble != ""):
		return Trouble
	case !in.Grant.Redeemed:
		return Unclaimed
	}
	return Healthy
}

// headline is the first line of `explain`: the reason, a plain sentence, and when.
func (in Input) headline(s Story) string {
	head := string(s.Reason) + ": "
	switch s.State {
	case Ended:
		return head + "ended. " + in.fill(happened[s.Reason], "{FOR}", "") + " (" + since(in.Now, s.At) + ")"
	case Trouble:
		sentence := in.fill(happened[s.Reason], "{FOR}", "")
		if d := in.Now.Sub(s.At); d >= time.Second {
			sentence = in.fill(happened[s.Reason], "{FOR}", " for "+Span(d))
		}
		return head + "in trouble. " + sentence + " (since " + since(in.Now, s.At) + ")"
	case Unclaimed:
		return head + "not finished. The program has not come back yet. (" + since(in.Now, s.At) + ")"
	}
	return head + "working. " + in.latest(s) + " (" + since(in.Now, s.At) + ")"
}

// latest is the sentence of the last line, which a healthy story's reason comes from.
func (in Input) latest(s Story) string {
	for i := len(s.Lines) - 1; i >= 0; i-- {
		if s.Lines[i].Reason == s.Reason {
			return s.Lines[i].Sentence
		}
	}
	return in.fill(happened[s.Reason], "{FOR}", "")
}

// sees is what the user meets on the status page: a word for the state, and a sentence. A healthy connection has none.
func (in Input) sees(s Story) (word, sentence string) {
	switch s.State {
	case Ended:
		if seen[s.Reason] == "" { // the file is of a newer version
			return "Ended", "It ended. Connect again."
		}
		return "Ended", in.fill(seen[s.Reason])
	case Unclaimed:
		return "Not finished", "The program has not come back to finish yet."
	case Trouble:
		m := troubles[s.Reason]
		return m.word, in.fill(m.sentence, "{SINCE}", moment(" since ", in.Now, s.At), "{UNTIL}", moment(" until ", in.Now, in.Until(s.Reason)))
	}
	return "Working", ""
}

// Until is how long a connection goes on in a trouble of the provider: outage_grace after its first failure. Zero = the
// trouble is another, or ends nothing by itself.
func (in Input) Until(reason oauth.Reason) time.Time {
	if in.Site.OutageGrace == 0 || in.Upstream.TroubleSince.IsZero() || in.Upstream.Trouble != reason {
		return time.Time{}
	}
	return in.Upstream.TroubleSince.Add(in.Site.OutageGrace.D())
}

// moment is a time with the word before it, nothing at all for a zero time.
func moment(word string, now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return word + Clock(now, t)
}
