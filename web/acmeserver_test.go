package web_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/crypto/acme"
)

// acmeServer is an authority that does what RFC 8555 demands for one name at a time and proves it by TLS-ALPN-01 (RFC
// 8737) at one address. It believes every signature: what is tested is the other side.
type acmeServer struct {
	*httptest.Server
	t    testing.TB
	key  *ecdsa.PrivateKey
	root *x509.Certificate

	mu       sync.Mutex
	target   string // where it looks for the proof, in place of port 443 of the name
	refuses  string // its words in place of a proof; "" = it looks
	requests int
	orders   int // new ones
	contact  []string
	thumb    string // of the account's key
	name     string // of the order
	proof    string // status of the authorization
	order    string // status
	chain    []byte
}

func newACMEServer(t testing.TB) *acmeServer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour * 365), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &acmeServer{t: t, key: key}
	if a.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /dir", func(w http.ResponseWriter, r *http.Request) {
		u := a.URL
		a.answer(w, 200, map[string]any{"newNonce": u + "/nonce", "newAccount": u + "/account", "newOrder": u + "/order", "revokeCert": u + "/revoke", "keyChange": u + "/key"})
	})
	mux.HandleFunc("HEAD /nonce", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /{what}", a.post)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.requests++
		w.Header().Set("Replay-Nonce", rand.Text())
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *acmeServer) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// post is every resource that is asked for with a JWS (§6.2).
func (a *acmeServer) post(w http.ResponseWriter, r *http.Request) {
	var body struct{ Protected, Payload string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		a.t.Error(err)
	}
	var head struct{ JWK json.RawMessage }
	var in struct {
		Contact     []string
		Identifiers []struct{ Value string }
		CSR         string
		Status      string
	}
	for text, into := range map[string]any{body.Protected: &head, body.Payload: &in} {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err == nil && len(raw) > 0 {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			a.t.Error(err)
		}
	}
	switch what := r.PathValue("what"); what {
	case "account":
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(head.JWK); err != nil {
			a.t.Error(err)
		}
		a.thumb, _ = acme.JWKThumbprint(key.Key)
		a.contact = in.Contact
		w.Header().Set("Location", a.URL+"/account")
		a.answer(w, 201, map[string]any{"status": "valid"})
	case "order":
		status := 200
		if len(in.Identifiers) > 0 {
			a.orders++
			status, a.name, a.proof, a.order = 201, in.Identifiers[0].Value, "pending", "pending"
		}
		a.tellOrder(w, status)
	case "proof":
		if in.Status == "" { // not its removal
			a.tellProof(w)
		}
	case "challenge":
		a.look()
		a.tellProof(w)
	case "finalize":
		a.sign(in.CSR)
		a.tellOrder(w, 200)
	case "certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(a.chain)
	default:
		a.t.Errorf("POST %s", what)
	}
}

func (a *acmeServer) tellOrder(w http.ResponseWriter, status int) {
	w.Header().Set("Location", a.URL+"/order")
	a.answer(w, status, map[string]any{
		"status": a.order, "identifiers": []any{map[string]string{"type": "dns", "value": a.name}},
		"authorizations": []string{a.URL + "/proof"}, "finalize": a.URL + "/finalize", "certificate": a.URL + "/certificate",
	})
}

func (a *acmeServer) tellProof(w http.ResponseWriter) {
	challenge := map[string]any{"type": "tls-alpn-01", "url": a.URL + "/challenge", "token": "token", "status": a.proof}
	if a.proof == "invalid" {
		challenge["error"] = map[string]string{"type": "urn:ietf:params:acme:error:caa", "detail": a.refuses}
	}
	a.answer(w, 200, map[string]any{
		"status": a.proof, "identifier": map[string]string{"type": "dns", "value": a.name}, "challenges": []any{
			map[string]any{"type": "http-01", "url": a.URL + "/challenge", "token": "token", "status": a.proof}, challenge,
		},
	})
}

// look is RFC 8737 §3: one handshake with one protocol, and a certificate with the proof in an extension.
func (a *acmeServer) look() {
	if a.refuses != "" {
		a.proof, a.order = "invalid", "invalid"
		return
	}
	conn, err := tls.Dial("tcp", a.target, &tls.Config{ServerName: a.name, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err != nil {
		a.t.Errorf("look: %v", err)
		a.proof = "invalid"
		return
	}
	defer conn.Close()
	sum := sha256.Sum256([]byte("token." + a.thumb))
	want, _ := asn1.Marshal(sum[:])
	leaf := conn.ConnectionState().PeerCertificates[0]
	for _, e := range leaf.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) && bytes.Equal(e.Value, want) && leaf.VerifyHostname(a.name) == nil {
			a.proof, a.order = "valid", "ready"
			return
		}
	}
	a.t.Error("no proof in the certificate")
	a.proof = "invalid"
}

// sign gives a certificate for 90 days.
func (a *acmeServer) sign(csr string) {
	der, err := base64.RawURLEncoding.DecodeString(csr)
	if err != nil {
		a.t.Error(err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil || fmt.Sprint(request.DNSNames) != fmt.Sprintf("[%s]", a.name) {
		a.t.Errorf("request: %v", err)
		return
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: request.DNSNames, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(90 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, a.root, request.PublicKey, a.key)
	if err != nil {
		a.t.Error(err)
	}
	a.chain = slicesOfPEM(leaf, a.root.Raw)
	a.order = "valid"
}

func slicesOfPEM(ders ...[]byte) (out []byte) {
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}
