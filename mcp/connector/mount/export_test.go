package mount

import "hostedmcp/mcp/connector"

// SetMaxChildren sets how many children a connector has at most; the function that it returns sets it back.
func SetMaxChildren(n int) (back func()) {
	before := maxChildren
	maxChildren = n
	return func() { maxChildren = before }
}

// Links returns how many living links a source has: over stdio, its children.
func Links(s connector.Source) (n int) {
	src := s.(*source)
	src.mu.Lock()
	defer src.mu.Unlock()
	for _, sl := range src.slots {
		if sl.link != nil && sl.link.alive() {
			n++
		}
	}
	return n
}
