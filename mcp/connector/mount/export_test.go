package mount

// SetMaxChildren sets how many children a connector has at most; the function that it returns sets it back.
func SetMaxChildren(n int) (back func()) {
	before := maxChildren
	maxChildren = n
	return func() { maxChildren = before }
}
