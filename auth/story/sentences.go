package story

import "hostedmcp/auth/oauth"

// happened says of every reason in the journal what took place, as one line of a story. {FOR} is the length of a span.
var happened = map[oauth.Reason]string{
	oauth.Registered:      "The program registered.",
	oauth.ConsentApproved: "{You} pressed Allow.",
	oauth.SignedIn:        "{You} signed in at {P}.",
	oauth.CodeRedeemed:    "The program came back and was connected.",
	oauth.FirstCall:       "Used for the first time.",
	oauth.RefreshOK:       "Renewed.",
	oauth.RefreshSame:     "An answer to the program was lost; it asked again and got the same.",
	oauth.RefreshAhead:    "The program came with a newer key than this server remembers: the server runs on an older copy of its data.",
	oauth.RefreshOutage:   "Renewed although {P} was in trouble.",
	oauth.KeepaliveOK:     "{P} renewed the sign-in while the connection was idle.",
	oauth.RecheckOK:       "{P} confirmed the sign-in.",
	oauth.Restored:        "This server was restored from a backup. {P} may have renewed the sign-in since then, so it is being checked.",
	oauth.KeyRotated:      "This server changed a key.",
	oauth.OK:              "{P} renewed the sign-in.",

	oauth.UserRevoked:              "{You} ended it on the status page.",
	oauth.ClientRevoked:            "The program itself ended it.",
	oauth.AdminRevoked:             "An administrator ended it.",
	oauth.CodeReplay:               "The code that set it up was used twice: ended for safety.",
	oauth.LoginUnclaimed:           "The program never came back to finish.",
	oauth.RefreshReuse:             "An old key of this connection was used again, which can mean a copy: ended for safety.",
	oauth.GrantIdle:                "It was not used for {IDLE}.",
	oauth.GrantMaxAge:              "It reached its highest age{AGE}.",
	oauth.GrantEvicted:             "{You} connected this program {TIMES}; this was the one used least.",
	oauth.AccessRule:               "{Your} account does not belong to those who may use this.",
	oauth.UpstreamRejected:         "{P} refused to renew, and again later, in words that say no reason.",
	oauth.UpstreamSessionExpired:   "{P} refused to renew: the sign-in ran out there.",
	oauth.UpstreamSessionEnded:     "{P} refused to renew: the sign-in was ended there.",
	oauth.UpstreamConsentWithdrawn: "{P} refused to renew: the permission to stay connected was withdrawn there.",
	oauth.UpstreamUserDisabled:     "{P} refused to renew: {your} account is switched off there.",
	oauth.UpstreamReuse:            "{P} saw an old key more often than it allows and ended the sign-in.",
	oauth.UpstreamLost:             "An answer of {P} was lost on the way, and {P} does not give it twice.",

	oauth.UpstreamUnreachable:  "{P} did not answer{FOR}.",
	oauth.UpstreamError:        "{P} answered with errors{FOR}.",
	oauth.UpstreamBadAnswer:    "{P} gave answers that cannot be read{FOR}.",
	oauth.UpstreamInDoubt:      "An answer of {P} was lost on the way; the sign-in there was in doubt{FOR}.",
	oauth.UpstreamSuspect:      "{P} refused to renew, in words that may mean a fault of its own{FOR}. It is asked again before it is believed.",
	oauth.UpstreamConfig:       "{P} refused this server (not the user){FOR}: a setting is wrong.",
	oauth.SubjectChanged:       "{P} named another person for this connection. It is stopped until an administrator has looked.",
	oauth.StorageUnavailable:   "This server cannot save at the moment.",
	oauth.ClockJump:            "The clock of this server is wrong. Until it is right, nothing ends by time.",
	oauth.RateLimited:          "Too many requests came; they were asked to wait.",
	oauth.Internal:             "This server met a fault of its own.",
	oauth.ConnectorUnreachable: "A connector did not answer.",
	oauth.ConnectorBadAnswer:   "A connector gave an answer that cannot be read.",
	oauth.ConnectorChanged:     "A connector changed what it offers.",
}

// afterwards is what the same reasons mean once the grant has ended: the provider is given its token back.
var afterwards = map[oauth.Reason]string{
	oauth.OK:             "The sign-in was given back to {P}.",
	oauth.UpstreamError:  "{P} could not be told that it ended; it is told again for up to a week.",
	oauth.UpstreamConfig: "{P} has no way to give the sign-in back; it runs out there by itself.",
}

// seen is the sentence that the user meets for each end, on the status page (pages/sentences.md). It speaks to them.
var seen = map[oauth.Reason]string{
	oauth.UserRevoked:              "You ended it here.",
	oauth.ClientRevoked:            "The program itself ended it, for example because you removed it there.",
	oauth.AdminRevoked:             "An administrator ended it. Ask them before you connect again.",
	oauth.CodeReplay:               "The code that set it up was used twice, so it was ended for safety. Connect again.",
	oauth.LoginUnclaimed:           "The program never came back to finish. Connect again.",
	oauth.RefreshReuse:             "An old key of this connection was used again. That can mean a copy, so it was ended for safety. Connect again; if it happens often, tell your administrators.",
	oauth.GrantIdle:                "It was not used for {IDLE}. Connect again when you need it.",
	oauth.GrantMaxAge:              "It reached its highest age{AGE}. Connect again.",
	oauth.GrantEvicted:             "You connected this program {TIMES}; this was the one used least.",
	oauth.AccessRule:               "Your account no longer belongs to those who may use this. Ask your administrators.",
	oauth.UpstreamRejected:         "{P} no longer accepts this sign-in. Connect again.",
	oauth.UpstreamSessionExpired:   "Your sign-in at {P} ran out. Connect again.",
	oauth.UpstreamSessionEnded:     "Your sign-in at {P} was ended there, for example by “sign out everywhere”. To go on, connect again from the program.",
	oauth.UpstreamConsentWithdrawn: "Your permission was withdrawn at {P}. Connect again to give it anew.",
	oauth.UpstreamUserDisabled:     "Your account at {P} is switched off. Ask your administrators.",
	oauth.UpstreamReuse:            "{P} saw an old key used twice and ended your sign-in. Connect again.",
	oauth.UpstreamLost:             "{P}’s answer was lost on the way, and {P} does not give it twice. Connect again.",
}

// met is the state, and the sentence, that the user meets while a connection is in trouble.
type met struct{ word, sentence string }

// All keep one promise unless the sentence says otherwise; {SINCE} and {UNTIL} are left out where they are not known.
const (
	stay       = " You stay connected{UNTIL}, and there is nothing you need to do."
	serverSick = "This server in trouble"
	cannotSave = "We cannot save at the moment. Nothing is lost." + stay
	checking   = "Being checked"
)

// troubles are those of pages/sentences.md, for every trouble that can belong to one connection.
var troubles = map[oauth.Reason]met{
	oauth.UpstreamUnreachable: {"Sign-in service not answering", "{P} has not answered{SINCE}." + stay + " Until it answers, some requests have to wait."},
	oauth.UpstreamError:       {"Sign-in service in trouble", "{P} answers with errors{SINCE}." + stay},
	oauth.UpstreamBadAnswer:   {"Sign-in service in trouble", "{P} answers with errors{SINCE}." + stay},
	oauth.UpstreamInDoubt:     {checking, "An answer of {P} was lost. We are asking again." + stay},
	oauth.Restored:            {checking, "This server was restored from a backup. We are asking {P} whether your sign-in still holds." + stay},
	oauth.RefreshAhead:        {checking, "This server was restored from a backup. We are asking {P} whether your sign-in still holds." + stay},
	oauth.UpstreamSuspect:     {checking, "{P} refused once to renew this sign-in. We ask again before we believe it." + stay},
	oauth.UpstreamConfig:      {"Being repaired", "This server and {P} disagree about a setting. The administrators have been told." + stay},
	oauth.SubjectChanged:      {"Stopped", "{P} named another person for this connection. It is stopped until an administrator has looked. Connecting again makes a new one."},
	oauth.StorageUnavailable:  {serverSick, cannotSave},
	oauth.Internal:            {serverSick, cannotSave},
	oauth.ClockJump:           {serverSick, cannotSave},
	oauth.RateLimited:         {"Waiting", "Too many requests. It goes on by itself within two minutes." + stay},
}
