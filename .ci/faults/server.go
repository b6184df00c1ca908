package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// settings are what a campaign sets in the configuration of the server under test.
type settings struct {
	issuer, clientID, secret string // the provider
	data                     string // data folder; "" = in the run's own
	public                   string // URL that it is known by; "" = that of its own listener
	level                    string // of the log; "" = info
	provider, tokens         []string
	more                     []string // further tables
}

// patience bounds what a campaign waits for; nothing takes so long unless it is broken, even on a slow machine.
const patience = 3 * time.Minute

// server is the process under test: started and killed many times on one data folder and one port.
type server struct {
	run    *run
	name   string
	dir    string
	data   string
	listen string // host:port
	url    string
	config string
	scrape string // of /metrics

	mu      sync.Mutex
	cmd     *exec.Cmd
	died    chan struct{} // closed when the present process has ended
	started time.Time
}

var errDied = errors.New("the server ended by itself")

// newServer writes a configuration. Limits that are made for strangers are out of the way: all clients here have one
// address.
func (r *run) newServer(name string, s settings) (*server, error) {
	dir := filepath.Join(r.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if s.data == "" {
		s.data = filepath.Join(dir, "data")
	}
	listen, metrics := freePort(), freePort()
	srv := &server{
		run: r, name: name, dir: dir, data: s.data, listen: listen, url: cmp.Or(s.public, "http://"+listen),
		config: filepath.Join(dir, "config.toml"), scrape: "http://" + metrics + "/metrics",
	}
	if s.issuer != "" { // else there is a demo provider
		s.provider = append([]string{fmt.Sprintf("issuer = %q\nclient_id = %q\nclient_secret_file = %q", s.issuer, s.clientID,
			filepath.Join(dir, "secret"))}, s.provider...)
	}
	text := fmt.Sprintf(`public_url = %q
listen = %q
data_dir = %q
insecure_loopback = true
[metrics]
listen = %q
[log]
level = %q
[limits]
register_per_hour = 1000000
authorize_per_minute = 1000000
consent_per_minute = 1000000
failed_per_minute = 1000000
pending_per_address = 10000
[clients]
grants_per_user = 1000
register_max = 1000000
[provider]
%s
[tokens]
%s
%s
`, srv.url, listen, s.data, metrics, cmp.Or(s.level, "info"),
		strings.Join(s.provider, "\n"), strings.Join(s.tokens, "\n"), strings.Join(s.more, "\n"))
	for file, content := range map[string]string{srv.config: text, filepath.Join(dir, "secret"): s.secret} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	r.atEnd(func() { srv.kill() })
	return srv, nil
}

// freePort is an address that nobody listens at. It lies below the ports that the kernel hands out by itself: the
// server listens there later, and again after each kill.
func freePort() string {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if _, taken := handedOut.LoadOrStore(address, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
}

var handedOut sync.Map // addresses of this run

// start runs the program, under the command wrap if there is one, and returns when it says that it is ready; errDied if
// it ended before.
func (s *server) start(wrap ...string) error {
	args := append(append([]string{}, wrap...), s.run.bin, "-config", s.config)
	cmd := exec.Command(args[0], args[1:]...)
	log, err := os.OpenFile(filepath.Join(s.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log // one log for all lives of the server: a story is read across the kill
	// a campaign that is killed itself leaves nothing behind
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	died := make(chan struct{})
	s.mu.Lock()
	s.cmd, s.died, s.started = cmd, died, time.Now()
	s.mu.Unlock()
	// the line on stdout, not /readyz: that one also speaks of the provider, which may be away on purpose
	ready := make(chan bool, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- strings.Contains(line, "is ready")
		io.Copy(io.Discard, out)
		cmd.Wait()
		close(died)
	}()
	select {
	case ok := <-ready:
		if ok {
			return nil
		}
		<-died
		return errDied
	case <-time.After(patience):
		s.kill()
		return fmt.Errorf("the server was not ready after %s", patience)
	}
}

// kill ends the process as a power cut would, and returns when it has gone, with the time. No process is no fault.
func (s *server) kill() time.Time {
	s.mu.Lock()
	cmd, died := s.cmd, s.died
	s.mu.Unlock()
	if cmd != nil {
		cmd.Process.Kill()
		<-died
	}
	return time.Now()
}

// stop ends the process as systemd does, and says how it went.
func (s *server) stop() error {
	s.mu.Lock()
	cmd, died := s.cmd, s.died
	s.mu.Unlock()
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-died:
	case <-time.After(time.Minute):
		s.kill()
		return errors.New("SIGTERM: not ended after a minute")
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("SIGTERM: exit code %d", code)
	}
	return nil
}

// alive says whether the process runs.
func (s *server) alive() bool {
	select {
	case <-s.died:
		return false
	default:
		return true
	}
}

// pid returns the process's id.
func (s *server) pid() int { return s.cmd.Process.Pid }

// grants returns how many grants are in a state, by the server's own count; -1 if it does not say.
func (s *server) grants(state string) int { return s.metric(`hostedmcp_grants{state="` + state + `"}`) }

// metric returns the value of a series, named with its labels; -1 if the server does not say.
func (s *server) metric(series string) int {
	res, err := http.Get(s.scrape)
	if err != nil {
		return -1
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		var n float64
		if rest, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			if _, err := fmt.Sscanf(rest, "%g", &n); err == nil {
				return int(n)
			}
		}
	}
	return -1
}

// ready returns the status of /readyz, 0 without an answer.
func (s *server) ready() int {
	c := http.Client{Timeout: 2 * time.Second}
	res, err := c.Get(s.url + "/readyz")
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// logTail returns the last lines of the server's log that hold a word.
func (s *server) logTail(word string, most int) string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "server.log"))
	var out []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, word) {
			out = append(out, line)
		}
	}
	return strings.Join(out[max(0, len(out)-most):], "")
}
