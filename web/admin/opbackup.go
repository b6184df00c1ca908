package admin

import "net/http"

// backup sends a consistent copy of the store. The store spools it first, so that an error comes before the answer
// begins, and a slow reader holds nothing up; after that an error cuts the connection, and what was sent is not
// taken for a whole file.
func (d *Door) backup(x *exchange) error {
	n, err := d.o.Store.Backup(x.r.Context(), backupWriter{x})
	x.note("bytes", n)
	return err
}

// backupWriter begins the answer with the first byte.
type backupWriter struct{ x *exchange }

// Write implements io.Writer.
func (w backupWriter) Write(p []byte) (int, error) {
	if !w.x.begun {
		w.x.begin("application/octet-stream")
		w.x.w.WriteHeader(http.StatusOK)
	}
	w.x.progress()
	return w.x.w.Write(p)
}
