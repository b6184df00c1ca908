package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"hostedmcp/auth/oauth"
)

// Remember puts n tokens into the memory of verified ones and returns how many it holds then.
func (s *Server) Remember(n int, expires time.Time) int {
	for i := range n {
		hash := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(expires.UnixNano())+uint64(i)))
		s.verified.put(hash, &accessToken{accessClaims: accessClaims{Expires: expires.Unix()}}, s.now())
	}
	return len(s.verified.claims)
}

// Remembered returns how many grants the memory of pauses and of suspects speaks of.
func (s *Server) Remembered() (paused, suspected int) {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	s.suspects.mu.Lock()
	defer s.suspects.mu.Unlock()
	return len(s.flights.paused), len(s.suspects.at)
}

// Exchanged returns how many exchanged tokens memory holds, and their bytes.
func (s *Server) Exchanged() (tokens, bytes int) {
	s.exchanges.mu.Lock()
	defer s.exchanges.mu.Unlock()
	for _, of := range s.exchanges.tokens {
		tokens += len(of)
	}
	return tokens, s.exchanges.bytes
}

// KeepExchanged puts a token of n bytes into memory, good for life.
func (s *Server) KeepExchanged(grantID, audience string, n int, life time.Duration) {
	now := s.uptime()
	s.exchanges.put(exchangeKey{grantID, audience}, exchanged{token: oauth.Secret(make([]byte, n)), until: now + life}, now)
}

// SearchFor sets how long an operator's search may take.
func (s *Server) SearchFor(d time.Duration) { s.searchFor = d }

// Refusals returns how many refusals of tokens are remembered.
func (s *Server) Refusals() int {
	s.refusals.mu.RLock()
	defer s.refusals.mu.RUnlock()
	return len(s.refusals.of)
}
