package cimd

import "time"

// failureKept is how long a failed URL is not asked again (protocol.md §3.3).
const failureKept = time.Minute

// entry is what is remembered of one URL: the last good document, the last failure, or both.
type entry struct {
	doc         *Document // nil = none yet
	failure     error     // nil = the last fetch was good
	failedUntil time.Time
	used        time.Time
}

// lookup returns what is remembered of a URL, the zero entry if nothing is.
func (f *Fetcher) lookup(clientID string, now time.Time) entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.entries[clientID]
	if !ok {
		return entry{}
	}
	e.used = now
	if e.failure != nil && !now.Before(e.failedUntil) {
		e.failure = nil
	}
	return *e
}

func (f *Fetcher) rememberDocument(doc Document, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.entry(doc.ClientID, now)
	doc = doc.clone()
	e.doc, e.failure = &doc, nil
}

func (f *Fetcher) rememberFailure(clientID string, err error, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.entry(clientID, now)
	e.failure, e.failedUntil = err, now.Add(failureKept)
}

// entry finds or makes the entry of a URL. At the cap the longest unused one goes; one that holds nothing but a
// failure goes first, or made-up URLs could drive out the documents.
func (f *Fetcher) entry(clientID string, now time.Time) *entry {
	if e, ok := f.entries[clientID]; ok {
		e.used = now
		return e
	}
	if len(f.entries) >= f.cfg.Max {
		delete(f.entries, f.leastWorth())
	}
	e := &entry{used: now}
	f.entries[clientID] = e
	return e
}

func (f *Fetcher) leastWorth() string {
	victim, worst := "", (*entry)(nil)
	for id, e := range f.entries {
		if worst == nil || e.lessThan(worst) {
			victim, worst = id, e
		}
	}
	return victim
}

func (e *entry) lessThan(other *entry) bool {
	if (e.doc == nil) != (other.doc == nil) {
		return e.doc == nil
	}
	return e.used.Before(other.used)
}
