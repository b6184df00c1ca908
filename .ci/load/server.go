package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is a hostedmcp under test. All servers of a run share one data folder and one port: so do connections.
type server struct {
	cmd  *exec.Cmd
	died chan struct{}
}

// mountHTTP, mountStdio and mountAPI are sections of the configuration.
func mountHTTP(name, url, credential string) string {
	return fmt.Sprintf("[[connector]]\nname = %q\nkind = \"mcp-http\"\nurl = %q\ncredential = %q\n%s", name, url, credential, wide)
}

func mountStdio(name, credential string, command ...string) string {
	list := `"` + strings.Join(command, `", "`) + `"`
	return fmt.Sprintf("[[connector]]\nname = %q\nkind = \"mcp-stdio\"\ncommand = [%s]\ncredential = %q\n%s", name, list, credential, wide)
}

func mountAPI(name, url, document string) string {
	return fmt.Sprintf("[[connector]]\nname = %q\nkind = \"openapi\"\nurl = %q\ndocument = %q\ncredential = \"user\"\n%s", name, url, document, wide)
}

// wide limits: it is not they that are tested here, and the machine may be slow.
const wide = "parallel = 2000\nparallel_per_user = 100\ntimeout = \"120s\"\n"

// serve starts hostedmcp with some connectors and returns when it is ready.
func (r *run) serve(name string, connectors ...string) (*server, error) {
	s := r.site
	text := fmt.Sprintf("public_url = %q\nlisten = %q\ndata_dir = %q\ninsecure_loopback = true\n"+
		"[metrics]\nlisten = \"\"\n[log]\nlevel = \"warn\"\n[clients]\nregister_max = 100000\n"+
		"[limits]\nregister_per_hour = 1000000\nauthorize_per_minute = 1000000\nconsent_per_minute = 1000000\n"+
		"failed_per_minute = 1000000\npending_per_address = 10000\n"+
		"[provider]\nissuer = %q\nclient_id = %q\nclient_secret_file = %q\n%s",
		s.issuer, s.listen, filepath.Join(r.dir, "data"), s.provider.Issuer, s.provider.ClientID, filepath.Join(r.dir, "secret"),
		strings.Join(connectors, ""))
	config := filepath.Join(r.dir, name+".toml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(r.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	srv := &server{cmd: exec.Command(r.bin, "-config", config), died: make(chan struct{})}
	srv.cmd.Stderr = log
	r.atEnd(srv.stop)
	return srv, srv.start()
}

func (s *server) start() error {
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing is left behind
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan bool, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- strings.Contains(line, "is ready")
		io.Copy(io.Discard, out)
		s.cmd.Wait()
		close(s.died)
	}()
	select {
	case ok := <-ready:
		if ok {
			return nil
		}
		return fmt.Errorf("hostedmcp ended by itself: see %s", s.cmd.Args[2])
	case <-time.After(patience):
		return fmt.Errorf("hostedmcp was not ready after %s", patience)
	}
}

// stop ends the process as systemd does. Safe to repeat.
func (s *server) stop() {
	if s.cmd.Process == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.died:
	case <-time.After(time.Minute):
		s.cmd.Process.Kill()
		<-s.died
	}
}

// anonymous returns the process's own memory in MB: the mapped file does not count.
func (s *server) anonymous() float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	var kb float64
	if _, rest, ok := strings.Cut(string(status), "RssAnon:"); ok {
		fmt.Sscan(rest, &kb)
	}
	return kb / 1024
}

// freePort is an address that nobody listens at. It lies below the ports that the kernel hands out by itself: the
// servers of a run listen there one after another.
func freePort() string {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
}
