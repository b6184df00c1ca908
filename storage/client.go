package storage

import (
	"context"
	"time"
)

// ClientKind says how a client is known.
type ClientKind uint8

// The kinds of clients. Those that the operator registered stand in the configuration; their grants name the kind, but
// no record of them is kept here.
const (
	ClientRegistered ClientKind = iota + 1 // dynamic registration, RFC 7591
	ClientDocument                         // client ID metadata document
	ClientConfigured                       // `[[clients.registered]]`
)

// Client is a registration, or the stored copy of a metadata document. It holds no secret.
type Client struct {
	ID                        string
	Kind                      ClientKind
	Name, URI                 string
	RedirectURIs              []string
	GrantTypes, ResponseTypes []string
	Scope, ApplicationType    string

	Created  time.Time // zero = the transition's time
	LastUsed time.Time // to the day
	Living   int       // grants; moved by the transitions
	Document *Document // of a ClientDocument
}

// Document is where a metadata document came from and how long it is fresh.
type Document struct {
	ETag                string
	Fetched, FreshUntil time.Time
}

// clientRecord adds the reminder.
type clientRecord struct {
	Client
	look time.Time
}

func (r *clientRecord) fields(c *codec) {
	num(c, &r.Kind)
	text(c, &r.Name)
	text(c, &r.URI)
	list(c, &r.RedirectURIs)
	list(c, &r.GrantTypes)
	list(c, &r.ResponseTypes)
	text(c, &r.Scope)
	text(c, &r.ApplicationType)
	when(c, &r.Created)
	when(c, &r.LastUsed)
	num(c, &r.Living)
	when(c, &r.look)
	has := r.Document != nil
	flag(c, &has)
	if !has {
		return
	}
	if c.reading {
		r.Document = &Document{}
	}
	text(c, &r.Document.ETag)
	when(c, &r.Document.Fetched)
	when(c, &r.Document.FreshUntil)
}

const (
	clientLook  = 24 * time.Hour   // until the sweep looks at a new client for the first time
	clientStale = 24 * time.Hour   // LastUsed is moved at most this often, by transitions that write anyway
	clientBusy  = 10 * time.Minute // … and by an approval, so that no client goes between approval and callback
)

func (t *txn) client(id string) (*clientRecord, bool) {
	r := &clientRecord{Client: Client{ID: id}}
	if id == "" || !t.load(clientsBucket, id, r) {
		return nil, false
	}
	return r, true
}

func (t *txn) saveClient(r *clientRecord) { t.save(clientsBucket, r.ID, r) }

// counter names the counter of meta that bounds the clients of a kind.
func (k ClientKind) counter() string {
	if k == ClientDocument {
		return "clients/document"
	}
	return "clients/registered"
}

// addClient writes a client that is not there.
func (t *txn) addClient(c Client) {
	r := &clientRecord{Client: c, look: t.now.Add(clientLook)}
	if r.Created.IsZero() {
		r.Created = t.now
	}
	r.LastUsed, r.Living = t.now, 0 // whatever the caller says: only transitions move them
	t.saveClient(r)
	t.due(dueClient, r.look, r.ID)
	t.count(r.Kind.counter(), 1)
}

// removeClient forgets a client. Its id comes back with the same metadata, for it is derived from them.
func (t *txn) removeClient(r *clientRecord) {
	t.undue(dueClient, r.look, r.ID)
	t.del(clientsBucket, r.ID)
	t.count(r.Kind.counter(), -1)
}

// useClient moves a client's last use if it is older than stale, and its number of living grants. A client of the
// configuration has no record.
func (t *txn) useClient(id string, stale time.Duration, living int) {
	r, ok := t.client(id)
	if !ok || living == 0 && t.now.Sub(r.LastUsed) <= stale {
		return
	}
	if t.now.Sub(r.LastUsed) > stale {
		r.LastUsed = t.now
	}
	r.Living = max(r.Living+living, 0)
	t.saveClient(r)
}

// Client returns a client. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) Client(id string) (Client, error) {
	var c Client
	err := s.view(func(t *txn) error {
		r, ok := t.client(id)
		if !ok {
			return ErrNotFound
		}
		c = r.Client
		return nil
	})
	return c, err
}

// RegisterLimits bound dynamic registration (protocol.md §3.1).
type RegisterLimits struct {
	Max    int           // registrations kept; 0 = no limit
	MinAge time.Duration // younger ones, or used within it, are never evicted
}

// RegisterClient stores a registration. The id is derived from the metadata, so an id that is there says that the
// same was registered before: nothing is written, and created is false. At limits.Max the longest unused registration
// without a living grant goes. Errors: ErrFull if none may go, ErrUnavailable.
func (s *Store) RegisterClient(ctx context.Context, c Client, limits RegisterLimits) (created bool, err error) {
	if _, err := s.Client(c.ID); err != ErrNotFound {
		return false, err // go-sdk, Claude and OpenCode register at every connect: no write for that
	}
	err = s.write(ctx, func(t *txn) error {
		created = false
		if _, ok := t.client(c.ID); ok {
			return nil
		}
		if limits.Max > 0 && t.counter(c.Kind.counter()) >= uint64(limits.Max) && !t.evictClient(c.Kind, limits.MinAge) {
			return ErrFull
		}
		t.addClient(c)
		created = true
		return nil
	})
	return created && err == nil, err
}

// evictClient removes the longest unused client of a kind. It reads all clients, of which there are few, and only
// when the limit is reached.
func (t *txn) evictClient(kind ClientKind, minAge time.Duration) bool {
	var oldest *clientRecord
	t.each(clientsBucket, "", "", func(id string, v []byte) bool {
		r := &clientRecord{Client: Client{ID: id}}
		if !decode(v, r) {
			t.fail(errDamaged)
			return false
		}
		old := t.now.Sub(r.Created) >= minAge && t.now.Sub(r.LastUsed) >= minAge
		if r.Kind == kind && r.Living == 0 && old && (oldest == nil || r.LastUsed.Before(oldest.LastUsed)) {
			oldest = r
		}
		return true
	})
	if oldest == nil {
		return false
	}
	t.removeClient(oldest)
	return true
}

// SaveDocument stores the copy of a metadata document (protocol.md §3.3), new or fetched again.
func (s *Store) SaveDocument(ctx context.Context, c Client) error {
	return s.write(ctx, func(t *txn) error { t.saveDocument(c); return nil })
}

func (t *txn) saveDocument(c Client) {
	c.Kind = ClientDocument
	r, ok := t.client(c.ID)
	if !ok {
		t.addClient(c)
		return
	}
	c.Created, c.LastUsed, c.Living = r.Created, r.LastUsed, r.Living // a fetch is no use
	t.saveClient(&clientRecord{c, r.look})
}
