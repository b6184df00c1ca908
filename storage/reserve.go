package storage

import (
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// defaultReserve lasts for a long while of commits.
const defaultReserve = 16 << 20

// reserve keeps the blocks of Options.Reserve; bbolt leaves a file alone that is larger than it needs. Only the writer
// uses it once the store is open.
type reserve struct {
	file *os.File
	size int64 // to hold ahead of the data
	upTo int64 // bytes held
	log  *slog.Logger
}

// newReserve opens the store's file a second time; bbolt's lock is on its own descriptor and stays there.
func newReserve(path string, size int64, log *slog.Logger) (*reserve, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &reserve{file: f, size: size, log: log}, nil
}

// keep holds the reserve beyond used bytes, renewed when half of it is spent. A disk without room is no fault yet:
// what is held is there for that.
func (r *reserve) keep(used int64) {
	if used+r.size/2 <= r.upTo {
		return
	}
	// Blocks that are there already cost nothing.
	want := used + r.size
	if err := unix.Fallocate(int(r.file.Fd()), 0, 0, want); err != nil {
		r.log.Warn("no disk space could be held in reserve: make room on the disk of data_dir", "bytes", want, "error", err)
		// No word of it again before half a reserve has been written.
	}
	r.upTo = want
}

func (r *reserve) close() error { return r.file.Close() }
