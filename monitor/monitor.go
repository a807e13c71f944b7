package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pix/internal/redact"
	"pix/server"
	"pix/storepath"
)

// A Monitor passes the connections of clients on to a daemon, and reports what they say.
type Monitor struct {
	// Dial connects to the daemon for a client, for example [DialUnix]. Serve calls it from
	// several goroutines. The User and the Command of the client are not set yet.
	Dial func(ctx context.Context, client *Client) (net.Conn, error)

	// Handle gets each event; nil ignores them. It is called from several goroutines, but by one
	// at a time. A slow Handle does not delay a connection; after some time the connection
	// becomes raw. It must not keep the event's slices. After a panic it is not called again; the
	// connections go on, and Serve returns the panic as an error at its end.
	Handle func(*Event)

	// Recorder records the connections, unless it is nil.
	Recorder *Recorder

	// StoreDir is the store directory of the daemon, which the protocol does not mention. ""
	// means [storepath.DefaultDir]. With paths outside it, a connection becomes raw.
	StoreDir storepath.Dir

	memory     budget
	observers  atomic.Int64 // running
	unobserved atomic.Int64 // connections without an observer
	conns      atomic.Int64 // the number of the last connection

	handling sync.Mutex
	panicked error // of Handle
}

// maxObservers limits the connections with an observer. If Handle blocks, the observers of ended
// connections wait for it, and must not fill the memory.
const maxObservers = 8 << 10

// admit reports whether another connection may have an observer, and else counts it.
func (m *Monitor) admit() bool {
	if m.observers.Add(1) <= maxObservers {
		return true
	}
	m.observers.Add(-1)
	m.unobserved.Add(1)
	m.Recorder.miss()
	return false
}

// Unobserved returns the number of connections that passed without events, because too many others
// waited for Handle.
func (m *Monitor) Unobserved() int { return int(m.unobserved.Load()) }

func (m *Monitor) storeDir() storepath.Dir { return cmp.Or(m.StoreDir, storepath.DefaultDir) }

// emit passes an event to Handle. After a panic of Handle, it drops the event.
func (m *Monitor) emit(e *Event) {
	if m.Handle == nil {
		return
	}
	m.handling.Lock()
	defer m.handling.Unlock()
	if m.panicked != nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			m.panicked = fmt.Errorf("panic in Handle: %v\n%s", p, debug.Stack())
		}
	}()
	m.Handle(e)
}

// handlePanic returns the panic of Handle as an error, or nil.
func (m *Monitor) handlePanic() error {
	m.handling.Lock()
	defer m.handling.Unlock()
	return m.panicked
}

// Serve passes connections of l on until ctx ends. Then it closes l and all connections, and
// returns nil after the last event. If l is closed, Serve returns nil after the last connection has
// ended. It returns the error of l if no later connection can be accepted, and a panic of Handle.
func (m *Monitor) Serve(ctx context.Context, l net.Listener) error {
	return errors.Join(m.serve(ctx, l), m.handlePanic())
}

func (m *Monitor) serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		nc, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				serving.Wait()
				return nil
			}
			if !isTemporary(err) {
				return err
			}
			time.Sleep(acceptDelay)
			continue
		}
		number := int(m.conns.Add(1))
		serving.Go(func() { m.serveConn(ctx, number, nc) })
	}
}

// acceptDelay is the time until the next attempt if there are too many open files.
const acceptDelay = 10 * time.Millisecond

// isTemporary reports whether a later Accept can succeed.
func isTemporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ENOBUFS)
}

// serveConn passes a connection on until it ends.
func (m *Monitor) serveConn(ctx context.Context, number int, nc net.Conn) {
	defer nc.Close()
	client := clientOf(nc)
	daemon, err := m.Dial(ctx, client)
	if err != nil {
		nc.Close() // what follows may be slow
		if !m.admit() {
			return
		}
		defer m.observers.Add(-1)
		now := time.Now()
		client.describe()
		for _, e := range []*Event{{Client: client}, {Failure: &Failure{Reason: err.Error()}}} {
			e.Time, e.Conn = now, number
			m.Recorder.connection(number).event(e)
			m.emit(e)
		}
		return
	}
	defer daemon.Close()
	defer context.AfterFunc(ctx, func() {
		nc.Close()
		daemon.Close()
	})()
	t := newTap(&m.memory, m.Recorder.queueLimit(), m.Recorder != nil)
	var observing sync.WaitGroup
	defer observing.Wait()
	if !m.admit() {
		t.discard()
	} else {
		o := newObserver(m, number, t, m.Recorder.connection(number))
		observing.Go(func() {
			defer m.observers.Add(-1)
			o.observe(client)
		})
	}
	relay(nc, daemon, t)
}

// clientOf returns the ids of a client.
func clientOf(nc net.Conn) *Client {
	peer, err := server.PeerOf(nc)
	if err != nil {
		return &Client{UID: -1, GID: -1}
	}
	return &Client{PID: peer.PID, UID: int(peer.UID), GID: int(peer.GID)}
}

// describe sets the fields that the system provides in files. Reading these may be slow.
func (c *Client) describe() {
	if c.UID >= 0 {
		c.User = (&server.Peer{UID: uint32(c.UID), GID: uint32(c.GID)}).User()
	}
	if c.PID > 0 {
		c.Command = withoutSecrets(commandOf(c.PID))
	}
}

// withoutSecrets returns arguments without the secrets of [redact.Text], and without the values of
// options and variables with secret values.
func withoutSecrets(args []string) []string {
	afterSecret := false // the argument before names a secret option
	for i, arg := range args {
		name, value, isPair := strings.Cut(arg, "=")
		isSecret := len(name) < maxOption && redact.IsSecret(name) && !strings.Contains(name, "://")
		if name == "NIX_CONFIG" { // settings, each on its line
			isSecret = redact.IsSecret(value)
		}
		switch {
		case afterSecret:
			args[i] = redact.Secret
		case isPair && isSecret && value != "": // also a variable for env
			args[i] = name + "=" + redact.Secret
		default:
			args[i] = redact.Text(arg)
		}
		afterSecret = isSecret && !isPair
	}
	return args
}

// maxOption is longer than the name of every option.
const maxOption = 64
