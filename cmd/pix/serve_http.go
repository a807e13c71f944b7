package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pix/activity"
	"pix/server"
)

// defaultListen is the address on which nix-serve and its successors listen, but only on this machine.
const defaultListen = "localhost:5000"

// listenHTTP returns the listeners on the addresses, or the listeners that systemd passed to this process.
func (a *app) listenHTTP(addresses []string) (listeners []net.Listener, err error) {
	if len(addresses) == 0 {
		inherited, err := server.Inherited(a.getenv)
		if err != nil || len(inherited) > 0 {
			return inherited, err
		}
		addresses = []string{defaultListen}
	}
	for _, address := range addresses {
		l, err := listenOn(address)
		if err != nil {
			closeListeners(listeners)
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func closeListeners(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// isSocketPath reports whether an address to listen on is the path of a Unix socket.
func isSocketPath(address string) bool {
	return strings.HasPrefix(address, "unix:") || strings.Contains(address, "/")
}

// listenOn listens on HOST:PORT, or on the Unix socket at a path, which may have the prefix "unix:".
func listenOn(address string) (net.Listener, error) {
	if isSocketPath(address) {
		return server.ListenUnix(strings.TrimPrefix(address, "unix:"))
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &usageError{fmt.Errorf("'%s' is not an address to listen on, such as localhost:8080, :8080 or ./cache.sock", address)}
	}
	if n, err := strconv.Atoi(port); err == nil && (n < 0 || n > math.MaxUint16) {
		return nil, &usageError{fmt.Errorf("listening on '%s': a port is a number from 0 to %d", address, math.MaxUint16)}
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	// The text of net.OpError repeats the address in Go's terms.
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		err = op.Err
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && strings.HasPrefix(dns.Name, "tcp/") {
		err = errors.New("the port is neither a number nor the name of a service")
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		err = errors.New("another program listens on this address; choose another port")
	}
	return nil, fmt.Errorf("listening on '%s': %w", address, err)
}

// newHTTPServer returns a server with limits for clients that are slow or hostile before a handler is called.
func newHTTPServer(handler http.Handler) *http.Server {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		Protocols:         new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	return srv
}

// An httpServing is a server and its listeners.
type httpServing struct {
	server    *http.Server
	listeners []net.Listener
}

func (s *httpServing) serve(l net.Listener) error {
	if s.server.TLSConfig != nil {
		return s.server.ServeTLS(l, "", "")
	}
	return s.server.Serve(l)
}

// serveHTTP serves clients until a listener fails or the context ends. Then running requests have the grace period to end.
func (a *app) serveHTTP(ctx context.Context, servers []httpServing, grace time.Duration) (err error) {
	failed := make(chan error, 1)
	var accepting sync.WaitGroup
	for _, s := range servers {
		s.server.ErrorLog = log.New(&httpErrors{a: a}, "", 0)
		for _, l := range s.listeners {
			fmt.Fprintf(a.stderr, "pix: listening on %s\n", l.Addr())
			accepting.Go(func() {
				select {
				case failed <- s.serve(l):
				default:
				}
			})
		}
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	fmt.Fprintln(a.stderr, "pix: shutting down")
	graceful, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	for _, s := range servers {
		if s.server.Shutdown(graceful) != nil {
			fmt.Fprintf(a.stderr, "pix: requests that did not end within %v were interrupted\n", grace)
			s.server.Close()
		}
	}
	accepting.Wait()
	return err
}

// httpErrors prints the errors of connections, such as failed handshakes, and the stacks of panics.
type httpErrors struct{ a *app }

func (w *httpErrors) Write(line []byte) (int, error) {
	fmt.Fprintln(w.a.stderr, "pix: "+strings.TrimRight(activity.Plain(string(line)), "\n"))
	return len(line), nil
}
