package storage

import (
	"errors"
	"sync"
)

// unanswered remembers what was consumed for a caller who was told ErrUnavailable: readers see the commit that failed,
// but nobody has what it gave, so the next to present the same is the first.
type unanswered[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]V
}

// unansweredMax bounds them: a disk that is bad for long makes room by forgetting all.
const unansweredMax = 10_000

// note keeps what the caller was not told, and forgets it once somebody was. A commit that nobody sees left everything
// as it was: nothing to keep.
func (u *unanswered[K, V]) note(key K, value V, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil {
		delete(u.m, key)
	}
	var disk diskError
	if !errors.As(err, &disk) || !disk.visible {
		return
	}
	if u.m == nil || len(u.m) >= unansweredMax {
		u.m = map[K]V{}
	}
	u.m[key] = value
}

func (u *unanswered[K, V]) get(key K) (V, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	v, ok := u.m[key]
	return v, ok
}

// take is get for one caller only.
func (u *unanswered[K, V]) take(key K) (V, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	v, ok := u.m[key]
	delete(u.m, key)
	return v, ok
}
