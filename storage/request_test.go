package storage_test

import (
	"crypto/rand"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

func (h *harness) newRequest(change ...func(*storage.Request)) storage.Request {
	r := storage.Request{
		ID: rand.Text(), StateHash: sum("state"), BindHash: sum("browser"), Verifier: h.secret(), Nonce: h.secret(),
		ClientID: testClient, ClientName: "Claude", RedirectURI: testRedirect, Scope: "mcp", Resource: testResource, Challenge: "ch", State: "st",
		Address: "192.0.2.1", Expires: h.Now().Add(30 * time.Minute), TicketExpires: h.Now().Add(10 * time.Minute),
		Events: []storage.Event{{Reason: oauth.ConsentApproved, Request: "req-consent"}},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}
