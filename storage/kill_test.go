package storage_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// killEnv tells the test binary to be the process that is killed, and what it does until then.
const (
	killEnv     = "HOSTEDMCP_TEST_KILLED"
	killWorkEnv = "HOSTEDMCP_TEST_KILLED_AT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		work, arg, _ := strings.Cut(os.Getenv(killWorkEnv), " ")
		killed[work](dir, arg)
		return
	}
	os.Exit(m.Run())
}

// killed are the works of the process that is killed, each with an argument.
var killed = map[string]func(dir, arg string){
	"": beKilled, "master": rotateToDeath, "master" + byCopy: rotateToDeath, "data": rotateToDeath, "restore": restoreToDeath,
}

// beKilled makes grants and refreshes them from eight goroutines, and says on standard output what was answered. With
// an argument all keys are replaced meanwhile, again and again.
func beKilled(dir, rotating string) {
	s, err := storage.Open(context.Background(), storage.Options{Dir: dir, Issuer: storagetest.Issuer})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	var mu sync.Mutex
	say := func(format string, args ...any) { mu.Lock(); defer mu.Unlock(); fmt.Printf(format+"\n", args...) }
	ctx := context.Background()
	var wg sync.WaitGroup
	if rotating != "" {
		wg.Go(func() {
			for {
				_, err := s.RotateMaster(ctx)
				if err = errors.Join(err, s.RotateData(ctx, nil)); err != nil {
					say("failed %v", err)
				}
			}
		})
	}
	for i := range 8 {
		wg.Go(func() {
			for {
				id, code := rand.Text(), rand.Text()
				n := storage.NewGrant{Grant: storage.Grant{ID: id, ClientID: "c", Subject: fmt.Sprint("s", i)}, Key: make([]byte, 32), CodeHash: sum(code),
					Code: storage.Code{ClientID: "c", RedirectURI: "r", Challenge: "v", Resource: "r", Expires: s.Now().Add(day)}, GrantsPerUser: 2}
				if err := s.CreateGrant(ctx, n); err != nil {
					say("failed %v", err)
				}
				_, verdict, err := s.RedeemCode(ctx, storage.Redeem{Hash: n.CodeHash, ClientID: "c", Resource: "r", Challenge: "v", Memory: day})
				if err != nil || verdict != "" {
					say("failed %q %v", verdict, err)
				}
				for gen := uint32(1); gen < 20; gen++ {
					say("gen %s %d", id, gen)
					if _, row, _, err := s.RotateRefresh(ctx, storage.Presented{GrantID: id, Gen: gen, ClientID: "c"}); row != storage.RowCurrent {
						say("failed row %d %v", row, err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestKill: what was answered before a SIGKILL is there after it, and the file is whole.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 4 {
		answered := killAfter(t, dir, "", 40+150*round)
		s, err := storage.Open(t.Context(), storage.Options{Dir: dir, Issuer: storagetest.Issuer})
		if err != nil {
			t.Fatalf("after the kill: %v", err)
		}
		for id, gen := range answered {
			if g, err := s.Grant(id); err != nil || g.Gen < gen {
				t.Errorf("generation %d was answered, the file has %d, %v", gen, g.Gen, err)
			}
		}
		storagetest.Check(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// killAfter runs the process until it has answered n times, and returns the last answers.
func killAfter(t *testing.T, dir, work string, n int) map[string]uint32 {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+dir, killWorkEnv+"="+work)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answered := map[string]uint32{}
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		if strings.HasPrefix(lines.Text(), "failed") {
			t.Errorf("the process %s", lines.Text())
		}
		var id string
		var gen uint32
		if _, err := fmt.Sscanf(lines.Text(), "gen %s %d", &id, &gen); err == nil {
			answered[id] = gen // a cut last line does not parse, or names a generation that was answered as well
		}
		if i == n {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait() // killed
	return answered
}

// TestGroupCommit: transitions that wait together share a commit (design.md §4).
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	h := newHarness(t, func(o *storage.Options) { o.Registerer = reg })
	ids := make([]string, 64)
	for i := range ids {
		ids[i] = h.connect(alice(i)).id
	}
	commitsBefore, before := histogram(t, reg, "hostedmcp_store_batch_transitions")
	const rounds = 20
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			for gen := uint32(1); gen <= rounds; gen++ {
				if row, next := h.rotate(id, gen); row != storage.RowCurrent || next != gen+1 {
					t.Errorf("row %d, generation %d", row, next)
				}
			}
		})
	}
	wg.Wait()
	commits, after := histogram(t, reg, "hostedmcp_store_batch_transitions")
	if after-before != 64*rounds || commits-commitsBefore > 64*rounds/2 {
		t.Errorf("%v transitions in %d commits", after-before, commits-commitsBefore)
	}
	if n, _ := histogram(t, reg, "hostedmcp_store_commit_seconds"); n != commits {
		t.Errorf("%d commit times of %d commits", n, commits)
	}
	h.check()
}

func histogram(t testing.TB, reg *prometheus.Registry, name string) (count uint64, sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleCount(), h.GetSampleSum()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0, 0
}
