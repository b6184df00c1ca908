package authtest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth"
	"hostedmcp/storage"
)

// Backup makes a hot copy of the store, as the command does, and returns its path.
func (s *Server) Backup() string {
	s.tb.Helper()
	path := filepath.Join(s.tb.TempDir(), "backup.db")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		s.tb.Fatal(err)
	}
	if _, err := s.Store.Backup(context.Background(), f); err != nil {
		s.tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.tb.Fatal(err)
	}
	return path
}

// Restore ends the process's part of the server, puts a backup in the place of its file, as the command does on a closed
// store, and starts anew. The command has metrics of its own and the same log.
func (s *Server) Restore(backup string) storage.Restored {
	s.tb.Helper()
	s.stop()
	log := slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	restored, err := storage.Restore(context.Background(), s.storage(auth.NewObserver(prometheus.NewRegistry(), log), log), backup)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.start()
	return restored
}
