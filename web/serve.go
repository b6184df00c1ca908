package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Listeners and their life: opened all together, before anything else tells the world that the service is up; closed
// all together, without cutting a request that can be finished. Signals and the order of stopping belong to main.

// Drain is how long Shutdown waits for requests under way.
const Drain = 10 * time.Second

// idleTimeout is how long a kept connection may be silent between requests.
const idleTimeout = 2 * time.Minute

// Listener is one address that the process answers on.
type Listener struct {
	Key     string       // its configuration key, for errors: "listen", "metrics.listen"
	Addr    string       // host:port
	Socket  net.Listener // already open (systemd socket activation); nil = Addr is opened
	TLS     *tls.Config  // nil = plain HTTP
	Handler http.Handler
}

// Limits bound what a connection may cost before a request is one. Zero values are net/http's.
type Limits struct {
	HeaderMax     int           // bytes of a request's line and headers
	HeaderTimeout time.Duration // for all of them
}

// Server is a set of open listeners.
type Server struct {
	servers []*http.Server
	sockets []net.Listener
	log     *slog.Logger
	once    sync.Once
	stopped chan struct{}
}

// Bind opens every listener or none; connections wait in the kernel until Serve. The error of one that cannot be
// opened is one line with the way out.
func Bind(limits Limits, log *slog.Logger, listeners ...Listener) (*Server, error) {
	s := &Server{log: log, stopped: make(chan struct{})}
	for _, l := range listeners {
		socket := l.Socket
		if socket == nil {
			var err error
			if socket, err = net.Listen("tcp", l.Addr); err != nil {
				s.closeSockets()
				return nil, explain(l, err)
			}
		}
		s.sockets = append(s.sockets, socket)
		s.servers = append(s.servers, newServer(l, limits, log))
	}
	return s, nil
}

// newServer sets the limits that net/http keeps itself. WriteTimeout is for what net/http answers on its own; our
// handlers lift it and bound their answers themselves, since streams of /mcp live for an hour.
func newServer(l Listener, limits Limits, log *slog.Logger) *http.Server {
	server := &http.Server{
		Handler: l.Handler, TLSConfig: l.TLS, ReadHeaderTimeout: limits.HeaderTimeout, IdleTimeout: idleTimeout,
		WriteTimeout: stall,
		// A peer that is gone, or that takes nothing, is one connection with many streams.
		HTTP2: &http.HTTP2Config{SendPingTimeout: stall, PingTimeout: stall / 2, WriteByteTimeout: stall},
		// "OPTIONS *" is a path like any other that we do not have.
		DisableGeneralOptionsHandler: true,
		// What net/http says is about connections (a scanner's failed handshake), not about requests.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	const slack = 4096 // net/http grants this on top
	if limits.HeaderMax > slack {
		server.MaxHeaderBytes = limits.HeaderMax - slack
	}
	return server
}

// explain adds the fixing step to the errors that an operator meets.
func explain(l Listener, err error) error {
	fix := "check the address"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		fix = fmt.Sprintf("the port is in use: stop the other program (ss -ltnp shows it) or change %q in the configuration", l.Key)
	case errors.Is(err, syscall.EACCES):
		fix = fmt.Sprintf("not allowed: use a port above 1023 in %q, or give the service CAP_NET_BIND_SERVICE", l.Key)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		fix = fmt.Sprintf("this machine has no such address: change %q in the configuration", l.Key)
	}
	if op := new(net.OpError); errors.As(err, &op) {
		err = op.Err // the address stands before it already
	}
	return fmt.Errorf("%s %s: %w; %s", l.Key, l.Addr, err, fix)
}

// Addrs returns the addresses in the order of the listeners, with the ports the kernel chose.
func (s *Server) Addrs() []net.Addr {
	out := make([]net.Addr, len(s.sockets))
	for i, l := range s.sockets {
		out[i] = l.Addr()
	}
	return out
}

// Serve answers until Shutdown has drained (nil) or a listener fails, which closes all of them.
func (s *Server) Serve() error {
	var g errgroup.Group
	for i, server := range s.servers {
		g.Go(func() error {
			err := serveOne(server, s.sockets[i])
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			for _, other := range s.servers {
				_ = other.Close() // half a server is worse than none: the supervisor starts a whole one
			}
			s.once.Do(func() { close(s.stopped) })
			return fmt.Errorf("%s: %w", s.sockets[i].Addr(), err)
		})
	}
	err := g.Wait()
	<-s.stopped // http.Server.Serve returns when Shutdown begins, not when it is done
	return err
}

// serveOne blocks until its server is closed. ServeTLS adds HTTP/2.
func serveOne(server *http.Server, socket net.Listener) error {
	if server.TLSConfig != nil {
		return server.ServeTLS(socket, "", "")
	}
	return server.Serve(socket)
}

// Shutdown takes no new connection and waits for the requests under way, at most Drain and at most until ctx is done;
// what is still open then is cut, and the error says so. Streams of /mcp must be closed first. It may be called before
// or beside Serve, and more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Drain)
	defer cancel()
	var g errgroup.Group
	for _, server := range s.servers {
		g.Go(func() error {
			err := server.Shutdown(ctx)
			if err != nil {
				err = errors.Join(fmt.Errorf("requests were cut off after the drain: %w", err), server.Close())
			}
			return err
		})
	}
	err := g.Wait()
	s.closeSockets() // those that Serve never took over
	s.once.Do(func() { close(s.stopped) })
	return err
}

// closeSockets closes what Serve has not taken over, and does no harm to what it has.
func (s *Server) closeSockets() {
	for _, l := range s.sockets {
		_ = l.Close() // closed twice is closed
	}
}
