package web

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// The sentences that a person meets on "My connections". P is the provider's host. They say what happened and what to
// do; the reason code stands beside them for whoever is asked for help.

// endedSentences tell how a connection ended: every code of the ended group has one.
var endedSentences = map[oauth.Reason]string{
	oauth.UserRevoked:              "You ended it here.",
	oauth.ClientRevoked:            "The program itself ended it, for example because you removed it there.",
	oauth.AdminRevoked:             "An administrator ended it. Ask them before you connect again.",
	oauth.CodeReplay:               "The code that set it up was used twice, so it was ended for safety. Connect again.",
	oauth.LoginUnclaimed:           "The program never came back to finish. Connect again.",
	oauth.RefreshReuse:             "An old key of this connection was used again. That can mean a copy, so it was ended for safety. Connect again; if it happens often, tell your administrators.",
	oauth.GrantIdle:                "It was not used for {IDLE}. Connect again when you need it.",
	oauth.GrantMaxAge:              "It reached its highest age of {MAXAGE}. Connect again.",
	oauth.GrantEvicted:             "You connected this program more than {PERUSER} times; this was the one used least.",
	oauth.AccessRule:               "Your account no longer belongs to those who may use this. Ask your administrators.",
	oauth.UpstreamRejected:         "{P} no longer accepts this sign-in. Connect again.",
	oauth.UpstreamSessionExpired:   "Your sign-in at {P} ran out. Connect again.",
	oauth.UpstreamSessionEnded:     "Your sign-in at {P} was ended there, for example by “sign out everywhere”. To go on, connect again from the program.",
	oauth.UpstreamConsentWithdrawn: "Your permission was withdrawn at {P}. Connect again to give it anew.",
	oauth.UpstreamUserDisabled:     "Your account at {P} is switched off. Ask your administrators.",
	oauth.UpstreamReuse:            "{P} saw an old key used twice and ended your sign-in. Connect again.",
	oauth.UpstreamLost:             "{P}’s answer was lost on the way, and {P} does not give it twice. Connect again.",
}

// trouble is a state and its sentence. All keep the promise that the user stays connected and need do nothing, unless
// the sentence says otherwise.
type trouble struct{ state, sentence string }

// What several troubles say alike.
const (
	stay       = " You stay connected{UNTIL}, and there is nothing you need to do."
	serverSick = "This server in trouble"
	cannotSave = "We cannot save at the moment. Nothing is lost." + stay
)

// troubles holds a state and a sentence for every code of the trouble group. The state is a word that stands beside a
// ring; the sentence may name since when and until when, where that is known.
var troubles = map[oauth.Reason]trouble{
	oauth.UpstreamUnreachable:  {"Sign-in service not answering", "{P} has not answered{SINCE}." + stay + " Until it answers, some requests have to wait."},
	oauth.UpstreamError:        {"Sign-in service in trouble", "{P} answers with errors{SINCE}." + stay},
	oauth.UpstreamBadAnswer:    {"Sign-in service in trouble", "{P} answers with errors{SINCE}." + stay},
	oauth.UpstreamInDoubt:      {"Being checked", "An answer of {P} was lost. We are asking again." + stay},
	oauth.UpstreamSuspect:      {"Being checked", "{P} refused once to renew this sign-in. We ask again before we believe it." + stay},
	oauth.UpstreamConfig:       {"Being repaired", "This server and {P} disagree about a setting. The administrators have been told." + stay},
	oauth.SubjectChanged:       {"Stopped", "{P} named another person for this connection. It is stopped until an administrator has looked. Connecting again makes a new one."},
	oauth.StorageUnavailable:   {serverSick, cannotSave},
	oauth.Internal:             {serverSick, cannotSave},
	oauth.ClockJump:            {serverSick, cannotSave},
	oauth.RateLimited:          {"Waiting", "Too many requests. It goes on by itself within two minutes." + stay},
	oauth.ConnectorUnreachable: {"Working, without one source", "One of the systems behind it is not answering. Everything else works."},
	oauth.ConnectorBadAnswer:   {"Working, without one source", "One of the systems behind it is not answering. Everything else works."},
	oauth.ConnectorChanged:     {"Working, without part of one source", "One of the systems behind it changed what it offers. The administrators decide about it."},
}

// endedSentence never comes back empty: an unknown code is one of a newer version's file.
func (p *Pages) endedSentence(r oauth.Reason) string {
	return p.fill(cmp.Or(endedSentences[r], "It ended. Connect again."))
}

// troubleSentence returns the state and the sentence of a living grant in trouble.
func (p *Pages) troubleSentence(g auth.PageGrant) (state, sentence string) {
	t, ok := troubles[g.Reason]
	if !ok {
		t = trouble{"In trouble", "Something is wrong at the moment." + stay}
	}
	now := p.now()
	return t.state, p.fill(t.sentence, "{SINCE}", moment(" since ", now, g.Trouble), "{UNTIL}", moment(" until ", now, g.Until))
}

// moment writes a time with the word before it, nothing at all for a zero time.
func moment(word string, now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return word + clock(now, t)
}

// fill puts the site's figures into a sentence; pairs are further names and values. A figure that is not known leaves
// a sentence that is true without it.
func (p *Pages) fill(sentence string, pairs ...string) string {
	figure := func(d oauth.Duration, unknown string) string {
		if d == 0 {
			return unknown
		}
		return words(d)
	}
	if p.site.MaxAge == 0 {
		sentence = strings.Replace(sentence, " of {MAXAGE}", "", 1)
	}
	times := "too many"
	if n := p.site.GrantsPerUser; n > 0 {
		times = fmt.Sprintf("more than %s", strconv.Itoa(n))
	}
	pairs = append(pairs, "{P}", p.site.ProviderHost, "{NAME}", p.site.Name, "{IDLE}", figure(p.site.Idle, "too long"),
		"{MAXAGE}", figure(p.site.MaxAge, ""), "more than {PERUSER}", times)
	return strings.NewReplacer(pairs...).Replace(sentence)
}
