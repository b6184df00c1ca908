package story

import "hostedmcp/auth/oauth"

// Menus of the Keycloak admin console (26), which the advice names word by word. hostedmcp's client there is named as
// in the realm; {USER} is the user.
const (
	realmSessions = "Keycloak: Realm settings > Sessions > "
	realmTokens   = "Keycloak: Realm settings > Tokens > "
	realmGeneral  = "Keycloak: Realm settings > General > "
	clientTab     = "Keycloak: Clients > (the client of hostedmcp) > "
	userTab       = "Keycloak: Users > {USER} > "
)

// Advice that several reasons share.
const (
	offlineIdle = realmSessions + "Offline Session Idle: set it longer than the longest pause between two uses (30 days by default), and " +
		"keepalive_offline in [provider] shorter than it. The client can have its own: " + clientTab + "Advanced > Advanced settings > Client Offline Session Idle."
	ssoIdle = realmSessions + "SSO Session Idle and SSO Session Max bound sign-ins without offline_access: keep offline_access in scopes of " +
		"[provider], and in " + clientTab + "Client scopes > offline_access (Optional)."
	offlineMax = realmSessions + "Offline Session Max Limited: switch it off, or set Offline Session Max longer than refresh_max_age in [tokens]."
	maxReuse   = realmTokens + "Revoke Refresh Token: switch it off (then set rotation = \"none\" in [provider]), or set Refresh Token Max Reuse " +
		"to 1 or more (rotation = \"reuse\"). With 0 a lost answer always costs a login."
	wrongDatabase = "If this meets many users at once, the provider may run on a wrong or empty database, or on new keys: put the old ones back, and nobody " +
		"is logged out. Keycloak: Realm settings > Keys > Providers (hmac-generated)."
	whoEnded = "Who ended it stands at the provider: Keycloak: Events > User events (LOGOUT, REVOKE_GRANT) and Admin events, if they are saved: Realm settings > Events > User events settings > Save events."
	own      = "Nothing needs to change: it was meant."
)

// advice by reason: what keeps it from happening again. Every reason that ends a connection, and every trouble of one,
// has some.
var advice = map[oauth.Reason][]string{
	oauth.UserRevoked:    {own + " The user can connect again at any time."},
	oauth.ClientRevoked:  {own + " Programs do this when they are removed or signed out; if nobody did that, ask the program's vendor."},
	oauth.AdminRevoked:   {own + " To let the user connect again nothing is needed; to keep them out, switch the account off: " + userTab + "Enabled (the switch above)."},
	oauth.CodeReplay:     {"Something between the browser and the program sent the code twice: a proxy that retries, or somebody who read it. Look at the addresses of the two requests above; ask the program's vendor."},
	oauth.LoginUnclaimed: {"The program never asked for its tokens within code_ttl ([tokens]). Look whether its redirect URI reaches it: the port of a local program may be closed, or the window was shut. `hostedmcp trace` shows the step."},
	oauth.RefreshReuse: {
		"If two copies of the program share one stored credential (a copied profile, a container image, a backup), give each its own login.",
		"retry_window in [tokens] says how long a second process may come late; check warns above 60 s.",
		"If neither holds, take it for a theft: the request above names the address that came with the old key.",
	},
	oauth.GrantIdle:    {"Longer pauses: refresh_idle in [tokens]. A program that is used rarely can refresh from time to time."},
	oauth.GrantMaxAge:  {"A longer life: refresh_max_age in [tokens]."},
	oauth.GrantEvicted: {"More connections of one program for one user: grants_per_user in [clients]. A program that makes a new login at each start loses its tokens; ask its vendor."},
	oauth.AccessRule: {"Who may connect: groups and email_domains in [access]. The user's groups stand at the provider: " + userTab + "Groups.",
		"If the group is there but not in the token: " + clientTab + "Client scopes > (dedicated scope) > Add mapper > Group Membership, claim name groups, Full group path off."},
	oauth.UpstreamRejected: {"The provider gave no reason that is known. Its own log says more: Keycloak: Events > User events (REFRESH_TOKEN_ERROR).",
		"Often its keys or its database were replaced: Keycloak: Realm settings > Keys > Providers must keep the hmac-generated key."},
	oauth.UpstreamSessionExpired: {ssoIdle, offlineIdle, offlineMax},
	oauth.UpstreamSessionEnded:   {whoEnded, "Sign-out everywhere also comes from Keycloak: Sessions > Action > Sign out all active sessions, and from Revocation (not before). It ends what it is meant to end.", offlineIdle},
	oauth.UpstreamConsentWithdrawn: {"Keep the client's right to offline access: " + clientTab + "Client scopes > offline_access (Optional), and the realm role offline_access of the user: " + userTab + "Role mapping.",
		"The user may have removed it: Keycloak account console > Applications > Remove access; or an administrator: " + userTab + "Consents > Revoke."},
	oauth.UpstreamUserDisabled: {"If the user should be let in again: " + userTab + "Enabled (the switch above). Then the user connects again from the program.",
		"Temporary lock-outs count too: Keycloak: Realm settings > Security defenses > Brute force detection."},
	oauth.UpstreamReuse: {maxReuse},
	oauth.UpstreamLost:  {maxReuse, "A network that drops answers, or a server that is killed, loses them: look at the trouble before the end, above."},

	oauth.UpstreamUnreachable: {"Reach the provider: name, network, TLS. `hostedmcp check` says where it stops. Users stay connected for outage_grace ([tokens])."},
	oauth.UpstreamError:       {"The provider's own log says why. A 429 comes from a limit in front of it: let this server's address through. Users stay connected for outage_grace ([tokens])."},
	oauth.UpstreamBadAnswer:   {"Something between this server and the provider answers in its place (a proxy's page, a login wall). `hostedmcp check` shows the answer's kind."},
	oauth.UpstreamInDoubt:     {maxReuse},
	oauth.UpstreamSuspect:     {wrongDatabase},
	oauth.UpstreamConfig: {"The secret: " + clientTab + "Credentials > Client Secret must be what client_secret_file in [provider] holds. Put the right one there and restart; no user has to do anything.",
		"The host name: " + realmGeneral + "Frontend URL, or Keycloak's option --hostname, must be the issuer in [provider], by whichever address Keycloak is reached.",
		"The client and the realm must be on: " + clientTab + "Enabled (the switch above), and Keycloak: Realm settings > Enabled (the switch above).",
		wrongDatabase},
	oauth.SubjectChanged:     {"The provider gave one user's session to another: look for a user who was deleted and made anew, or merged (" + userTab + "Details > ID). Then end this connection; the user makes a new one."},
	oauth.Restored:           {"Nothing to do: the next answer of the provider settles it. Back up more often if this costs logins.", maxReuse},
	oauth.RefreshAhead:       {"The running data are older than what the program holds: a backup was restored. Nothing to do: the next answer of the provider settles it.", maxReuse},
	oauth.StorageUnavailable: {"Space and rights of data_dir, and the disk itself. `hostedmcp check` looks at all three."},
	oauth.ClockJump:          {"Set the clock (timedatectl, chrony). If it is right now: `hostedmcp clock accept`."},
}

// advice fills in the names, for the state that the story ends in.
func (in Input) advice(s Story) []string {
	if s.State == Healthy || s.State == Unclaimed {
		return nil
	}
	var out []string
	for _, a := range advice[s.Reason] {
		out = append(out, in.fill(a))
	}
	return out
}
