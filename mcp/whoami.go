package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"hostedmcp/auth/oauth"
)

// whoamiDefinition and userinfoDefinition follow MCP "Tools". Both only read; openWorldHint says whether a service
// beyond this server is asked.
const whoamiDefinition = `{
	"name": "whoami",
	"title": "Who am I",
	"description": "Tells as whom you are connected to this server: the user, the client, the scopes, since when, and until when the connection holds if it is not used.",
	"inputSchema": {"type": "object", "properties": {}},
	"outputSchema": {
		"type": "object",
		"properties": {
			"subject": {"type": "string", "description": "the user's identifier at the sign-in service"},
			"name": {"type": "string"},
			"preferred_username": {"type": "string"},
			"email": {"type": "string"},
			"groups": {"type": "array", "items": {"type": "string"}},
			"client": {
				"type": "object",
				"properties": {"id": {"type": "string"}, "name": {"type": "string"}},
				"required": ["id"]
			},
			"scopes": {"type": "array", "items": {"type": "string"}, "description": "of the present access token"},
			"connected_since": {"type": "string", "format": "date-time"},
			"connected_until": {"type": "string", "format": "date-time", "description": "unless it is used before"}
		},
		"required": ["subject", "groups", "client", "scopes"]
	},
	"annotations": {"readOnlyHint": true, "openWorldHint": false}
}`

const userinfoDefinition = `{
	"name": "userinfo",
	"title": "User information",
	"description": "Asks the sign-in service, as the connected user, what it says of that user now.",
	"inputSchema": {"type": "object", "properties": {}},
	"outputSchema": {"type": "object", "properties": {"sub": {"type": "string"}}, "required": ["sub"]},
	"annotations": {"readOnlyHint": true, "openWorldHint": true}
}`

// person is the structured content of whoami. What is not known is left out; lists are never null, as the output
// schema has them.
type person struct {
	Subject           string      `json:"subject"`
	Name              string      `json:"name,omitempty"`
	PreferredUsername string      `json:"preferred_username,omitempty"`
	Email             string      `json:"email,omitempty"`
	Groups            []string    `json:"groups"`
	Client            clientName  `json:"client"`
	Scopes            oauth.Scope `json:"scopes"`
	Since             *time.Time  `json:"connected_since,omitempty"`
	Until             *time.Time  `json:"connected_until,omitempty"`
}

// clientName is the client as it named itself, and the id that it cannot choose.
type clientName struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// whoami answers from the grant and the claims that were stored with it; nobody is asked. So it also works while the
// provider is down, and shows what its claims were when they were last renewed.
func whoami() Tool {
	return Tool{
		Name:       "whoami",
		Definition: json.RawMessage(whoamiDefinition),
		Call: func(ctx context.Context, _ json.RawMessage) (*Result, error) {
			c := CallerOf(ctx)
			claims, err := c.Claims(ctx)
			if err != nil {
				return toolFailure(err)
			}
			object, err := marshal(person{
				Subject: c.Subject, Name: claims.Name, PreferredUsername: claims.PreferredUsername, Email: claims.Email,
				Groups: append([]string{}, claims.Groups...), Client: clientName{c.ClientID, c.ClientName},
				Scopes: append(oauth.Scope{}, c.Scope...), Since: utc(c.Since), Until: utc(c.Until),
			})
			if err != nil {
				return nil, err
			}
			return Structured(object), nil
		},
	}
}

// utc returns t for JSON, nil if it is not known.
func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// userinfo shows that calls reach a service as the user: it hands on what the provider answers, as it came.
func userinfo() Tool {
	return Tool{
		Name:       "userinfo",
		Definition: json.RawMessage(userinfoDefinition),
		Provider:   true,
		Call: func(ctx context.Context, _ json.RawMessage) (*Result, error) {
			object, err := CallerOf(ctx).Userinfo(ctx)
			if err != nil {
				return toolFailure(err)
			}
			return Structured(object), nil
		},
	}
}

// toolFailure tells the user what stands in the way, as a failed call: the connection itself was good a moment ago,
// when the call was dispatched. Anything but an *oauth.Error is our own fault. A 401 is out of reach here: the
// answer's status may be on its way already.
func toolFailure(err error) (*Result, error) {
	var e *oauth.Error
	if !errors.As(err, &e) {
		return nil, err
	}
	return Failed(e.Description()), nil
}
