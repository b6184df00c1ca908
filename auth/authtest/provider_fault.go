package authtest

import (
	"net"
	"net/http"
	"slices"
)

// Endpoint names one of the provider's endpoints in faults and in the log.
type Endpoint string

// The endpoints.
const (
	Discovery Endpoint = "discovery"
	JWKS      Endpoint = "jwks"
	Authorize Endpoint = "authorize" // form and login
	Token     Endpoint = "token"
	Revoke    Endpoint = "revoke"
	Userinfo  Endpoint = "userinfo"
)

// Fault is one way in which an endpoint's HTTP goes wrong. The fields act in this order: Gate, Hang, Reset, Status or
// Body, Cut. With none of the last four the true answer is given after the gate.
type Fault struct {
	Grant string // only token requests with this grant_type; "" = all
	Times int    // this often; 0 = until Mend
	After bool   // the request is carried out first: tokens rotate, and only the answer goes wrong

	Gate   *Gate       // wait here
	Hang   bool        // never answer: wait until the client or the provider goes away
	Reset  bool        // reset the connection
	Status int         // answer with this status; 0 with a Body = 200
	Header http.Header // of such an answer
	Body   string      // of such an answer
	Cut    int         // send this many bytes of the body, then reset; 0 = whole. Implies After for the true answer
}

// InvalidGrant is a refusal as Keycloak words it.
func InvalidGrant(description string) Fault {
	return Fault{Status: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/json"}},
		Body: `{"error":"invalid_grant","error_description":"` + description + `"}`}
}

// Unavailable is the answer of a provider that restarts; retryAfter "" = no such header.
func Unavailable(status int, retryAfter string) Fault {
	f := Fault{Status: status, Header: http.Header{"Content-Type": {"text/plain"}}, Body: "not now"}
	if retryAfter != "" {
		f.Header.Set("Retry-After", retryAfter)
	}
	return f
}

// HTML is the page of something in between, with status 200.
func HTML() Fault {
	return Fault{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>Welcome!</html>"}
}

// Gate holds requests until it is told to let them go.
type Gate struct {
	arrived chan struct{}
	pass    chan struct{}
	open    chan struct{}
}

// NewGate returns a closed gate.
func NewGate() *Gate {
	return &Gate{arrived: make(chan struct{}, 1<<16), pass: make(chan struct{}), open: make(chan struct{})}
}

// Arrived yields one value for each request that has come to the gate.
func (g *Gate) Arrived() <-chan struct{} { return g.arrived }

// Pass lets one request through; it waits for one.
func (g *Gate) Pass() { g.pass <- struct{}{} }

// Open lets all through, now and later. It may be called once.
func (g *Gate) Open() { close(g.open) }

type armed struct {
	endpoint Endpoint
	Fault
	left int
}

// Break makes an endpoint misbehave. Several faults of one endpoint strike in the order in which they were given, one a
// request; one without Times never gives way to the next.
func (p *Provider) Break(e Endpoint, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, &armed{endpoint: e, Fault: f, left: f.Times})
}

// Mend takes back the faults of the endpoints; of all with no argument.
func (p *Provider) Mend(endpoints ...Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = slices.DeleteFunc(p.faults, func(a *armed) bool {
		return len(endpoints) == 0 || slices.Contains(endpoints, a.endpoint)
	})
}

// next returns the fault that strikes this request.
func (p *Provider) next(e Endpoint, grant string) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range p.faults {
		if a.endpoint != e || (a.Grant != "" && a.Grant != grant) {
			continue
		}
		if a.Times > 0 {
			if a.left--; a.left == 0 {
				p.faults = slices.Delete(p.faults, i, i+1)
			}
		}
		return a.Fault
	}
	return Fault{}
}

// answer is what an endpoint wants to say.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// strike lets f happen before or instead of a; done says that nothing may be written any more.
func (f Fault) strike(w http.ResponseWriter, r *http.Request, closing <-chan struct{}, a *answer) (done bool) {
	if f.Gate != nil {
		f.Gate.arrived <- struct{}{}
		select {
		case <-f.Gate.pass:
		case <-f.Gate.open:
		case <-r.Context().Done():
			return true
		case <-closing:
			return true
		}
	}
	if f.Hang {
		select {
		case <-r.Context().Done():
		case <-closing:
		}
		return true
	}
	if f.Reset {
		reset(w)
		return true
	}
	if f.Status != 0 || f.Body != "" {
		*a = answer{status: max(f.Status, 1), header: f.Header, body: []byte(f.Body)}
		if f.Status == 0 {
			a.status = http.StatusOK
		}
	}
	return false
}

// reset closes the connection so that the other side sees a reset, not an end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
