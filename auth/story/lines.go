package story

import (
	"fmt"
	"slices"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// routine are the events of a connection that is well. They alternate for months, so a run of them is one line.
var routine = []oauth.Reason{oauth.RefreshOK, oauth.OK, oauth.KeepaliveOK, oauth.RecheckOK}

// outages are troubles of the provider: one lasts until the next good answer, and renewals meanwhile belong to it.
var outages = []oauth.Reason{oauth.UpstreamUnreachable, oauth.UpstreamError, oauth.UpstreamBadAnswer, oauth.UpstreamInDoubt,
	oauth.UpstreamSuspect, oauth.UpstreamConfig}

// lines merges the journal into what a person wants to read: spans instead of repetitions.
func (in Input) lines() []Line {
	out := in.registered()
	over := false // the grant has ended: what follows is about giving its token back
	for i := 0; i < len(in.Events); {
		e, n := in.Events[i], 1
		switch {
		case over:
			out = append(out, in.line(e, in.fill(afterwards[e.Reason])))
		case slices.Contains(routine, e.Reason):
			n = in.run(i, routine...)
			out = append(out, in.routine(in.Events[i:i+n], i+n == len(in.Events)))
		case slices.Contains(outages, e.Reason):
			n = in.run(i, e.Reason, oauth.RefreshOutage, oauth.RefreshSame)
			out = append(out, in.outage(in.Events[i:i+n], in.after(i+n)))
		default:
			out = append(out, in.line(e, in.fill(happened[e.Reason], "{FOR}", "")))
		}
		over = over || e.Reason.Group() == oauth.GroupEnded
		i += n
	}
	return in.withLastUse(out)
}

// registered begins the story of a program that nobody vouches for. The journal has only what came after it.
func (in Input) registered() []Line {
	if in.Registered.IsZero() || len(in.Events) == 0 || in.Registered.After(in.Events[0].At) {
		return nil
	}
	e := storage.Event{At: in.Registered, Last: in.Registered, Count: 1, Reason: oauth.Registered, Client: in.Grant.ClientID}
	return []Line{in.line(e, in.fill(happened[oauth.Registered]))}
}

// run is how many events in a row, from i, have one of the reasons. It ends with the grant.
func (in Input) run(i int, of ...oauth.Reason) (n int) {
	for i+n < len(in.Events) && slices.Contains(of, in.Events[i+n].Reason) {
		n++
	}
	return n
}

// line is one event as it stands.
func (in Input) line(e storage.Event, sentence string) Line {
	l := Line{At: e.At, Reason: e.Reason, Sentence: sentence, Request: e.Request, Address: e.Address, Count: max(e.Count, 1)}
	if e.Last.After(e.At) {
		l.Until = e.Last
	}
	if e.Client != in.Grant.ClientID {
		l.Client = shown(e.Client)
	}
	if l.Sentence == "" { // a reason of a newer version, or one that tells of nothing
		l.Sentence = large(e.Reason.Sentence())
	}
	if l.Count > 1 && l.Until.IsZero() {
		l.Until = e.Last
	}
	return l
}

// routine is one line for a run of good answers: how often the client came, how often the provider was asked. Its
// reason is that of the last event, which is what a healthy story is headed by.
func (in Input) routine(run []storage.Event, latest bool) Line {
	var renewed, confirmed int64
	for _, e := range run {
		if e.Reason == oauth.RefreshOK {
			renewed += int64(max(e.Count, 1))
		} else {
			confirmed += int64(max(e.Count, 1))
		}
	}
	last := run[len(run)-1]
	l := in.line(last, "")
	l.At, l.Count = run[0].At, uint32(renewed+confirmed)
	if l.Until = last.Last; !l.Until.After(l.At) {
		l.Until = time.Time{}
	}
	nth := ""
	if latest && in.Grant.Gen > 1 { // generation 1 was the login's
		nth = ordinal(int64(in.Grant.Gen) - 1)
	}
	switch {
	case renewed == 0 && confirmed == 1:
		l.Sentence = in.fill(happened[last.Reason])
	case renewed == 0:
		l.Sentence = in.fill("{P} confirmed the sign-in " + Count(confirmed, "time") + ".")
	case renewed == 1 && nth != "":
		l.Sentence = "Renewed, for the " + nth + " time."
	case renewed == 1:
		l.Sentence = "Renewed."
	case nth != "":
		l.Sentence = fmt.Sprintf("Renewed %s; the last was the %s.", Count(renewed, "time"), nth)
	default:
		l.Sentence = fmt.Sprintf("Renewed %s.", Count(renewed, "time"))
	}
	return l
}

// outage is one line for a trouble of the provider, from its first failure to the end of the run, with what the client
// was still given meanwhile.
func (in Input) outage(run []storage.Event, end time.Time) Line {
	l := in.line(run[0], "")
	l.Until, l.Count = end, 0
	var renewed int64
	for _, e := range run {
		if e.Reason == l.Reason {
			l.Count += max(e.Count, 1)
			l.Request = e.Request
		} else {
			renewed += int64(max(e.Count, 1))
		}
	}
	length := ""
	if d := end.Sub(l.At); d >= time.Second {
		length = " for " + Span(d)
	} else {
		l.Until = time.Time{}
	}
	l.Sentence = in.fill(happened[l.Reason], "{FOR}", length)
	if renewed > 0 {
		l.Sentence += in.fill(" {You} stayed connected: it was renewed " + Count(renewed, "time") + " meanwhile.")
	}
	return l
}

// after is when a trouble was over: with the next event, or not yet.
func (in Input) after(i int) time.Time {
	switch {
	case i < len(in.Events):
		return in.Events[i].At
	case in.Grant.Ended != "":
		return in.Grant.EndedAt
	}
	return in.Now
}

// withLastUse adds the last use in its place. The journal does not note calls; the grant remembers the last. One within
// a minute of another line says nothing new.
func (in Input) withLastUse(lines []Line) []Line {
	use := in.Grant.LastUse
	if use.IsZero() || !in.Grant.Called {
		return lines
	}
	i := len(lines)
	for i > 0 && lines[i-1].end().After(use) {
		i--
	}
	if i == 0 || use.Sub(lines[i-1].end()) < time.Minute || i < len(lines) && !lines[i].At.After(use) {
		return lines
	}
	return slices.Insert(lines, i, Line{At: use, Reason: oauth.OK, Sentence: "Last used.", Count: 1})
}

// end is when the last of what a line tells happened.
func (l Line) end() time.Time {
	if l.Until.IsZero() {
		return l.At
	}
	return l.Until
}
