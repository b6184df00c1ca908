package cimd

// copyDate is when the built-in copies were last compared with what the clients send.
const copyDate = "2026-11-23"

// builtIn are the clients that send their vendor's URL as soon as metadata documents are advertised and never fall
// back to registration (protocol.md §3.3, §3.5), while some of these hosts refuse servers in data centres. The lists
// are shorter than the vendors': loopback only, so that an outdated copy can lead nobody to a host that changed hands.
// Ports are left out, since any port matches.
var builtIn = []Document{
	{
		ClientID:     "https://claude.ai/oauth/claude-code-client-metadata",
		Name:         "Claude Code",
		URI:          "https://claude.ai",
		RedirectURIs: []string{"http://localhost/callback", "http://127.0.0.1/callback"},
	},
	{
		ClientID:     "https://chatgpt.com/oauth/codex/client.json",
		Name:         "Codex",
		URI:          "https://chatgpt.com",
		RedirectURIs: []string{"http://127.0.0.1/callback", "http://localhost/callback"},
	},
	{
		// It sends /callback with a metadata document and / after registration (copilot-cli 1.0.102).
		ClientID:     "https://github.com/copilot/cli/client-metadata.json",
		Name:         "GitHub Copilot CLI",
		URI:          "https://github.com",
		RedirectURIs: []string{"http://127.0.0.1/callback", "http://127.0.0.1/"},
	},
}

// BuiltIn returns the built-in copies: the clients whose vendors' hosts must be reachable, or be stood in for.
func BuiltIn() []Document {
	var out []Document
	for _, d := range builtIn {
		d.BuiltIn, d.CopyDate = true, copyDate
		out = append(out, d.clone())
	}
	return out
}

func builtInCopy(clientID string) (Document, bool) {
	for _, d := range BuiltIn() {
		if d.ClientID == clientID {
			return d, true
		}
	}
	return Document{}, false
}
