package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"pix/activity"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// DefaultSocket is the default path of the daemon's socket.
const DefaultSocket = "/nix/var/nix/daemon-socket/socket"

// Options configure connections. Nil and the zero values are useful.
type Options struct {
	// StoreDir is the store directory of the daemon, which the protocol does not mention. ""
	// means [storepath.DefaultDir]. A path outside it is an error before anything is sent. A
	// received path outside it breaks the connection.
	StoreDir storepath.Dir

	// HandshakeTimeout limits the time for connecting and the handshake together. 0 means ten
	// seconds, a negative value no limit.
	HandshakeTimeout time.Duration

	// DrainTimeout limits the time for the answer to a cancelled query, and for the proof that
	// a daemon which refused an upload has read it. After that the connection is broken. 0
	// means five seconds.
	DrainTimeout time.Duration

	// Window limits the number of pending queries. 0 means 4096.
	Window int

	// Settings are sent to the daemon when the connection is made, and apply as long as it
	// exists. If nil, nothing is sent, and the daemon's own configuration applies. See
	// [DefaultSettings]. A daemon that does not trust the user ignores most of them.
	Settings *Settings

	// Features are offered to the daemon in addition to [protocol.AllFeatures]. A program that
	// runs in a build offers [protocol.BuildFeatures]. Without them the daemon of the build
	// refuses [Conn.SubmitOutput] and [Conn.AddToStoreScanning]. Other daemons ignore them. If
	// [protocol.NoSetOptions] is negotiated, Settings must be nil.
	Features protocol.Features

	// Trace gets a line for each message in both directions. Errors of the writer are ignored.
	// After a panic it gets no more lines. Connections of a [Pool] write whole lines, one after
	// the other.
	Trace io.Writer

	// TraceBody is the number of bytes of long texts and of bodies that a trace shows. 0 means
	// [protocol.TraceBody], a negative number all, so that package daemontest can replay the
	// trace.
	TraceBody int

	// MaxConns limits the number of connections that a [Pool] uses for exclusive calls, and the
	// number of idle ones. 0 means 8. The shared connection for queries, connections of
	// sessions, and connections that wait for the caller's code do not count: see [Pool].
	MaxConns int

	// IdleTimeout is how long a [Pool] keeps an idle connection without temporary roots. 0
	// means a minute, a negative value forever.
	IdleTimeout time.Duration

	trace *tracer
}

// Settings are the settings that a client can send to a daemon.
type Settings = protocol.SetOptionsRequest

// DefaultSettings returns the default settings of Nix's own client. The message has all fields, so
// each replaces the daemon's own setting: max-jobs becomes 1 and cores all processors, whatever
// the daemon's configuration says. To keep the daemon's settings, leave [Options.Settings] nil.
// To change some of them, begin with these, and set MaxBuildJobs and BuildCores too. The zero
// value would disable all builds.
func DefaultSettings() *Settings {
	return &Settings{Verbosity: activity.LevelInfo, MaxBuildJobs: 1, VerboseBuild: true, UseSubstitutes: true}
}

// withDefaults returns a copy with the defaults in place of zero values.
func (o *Options) withDefaults() Options {
	var full Options
	if o != nil {
		full = *o
	}
	if full.StoreDir == "" {
		full.StoreDir = storepath.DefaultDir
	}
	if full.HandshakeTimeout == 0 {
		full.HandshakeTimeout = 10 * time.Second
	}
	if full.DrainTimeout == 0 {
		full.DrainTimeout = 5 * time.Second
	}
	if full.Window <= 0 {
		full.Window = 4096
	}
	if full.MaxConns <= 0 {
		full.MaxConns = 8
	}
	if full.IdleTimeout == 0 {
		full.IdleTimeout = time.Minute
	}
	if full.trace == nil {
		full.trace = newTracer(&full)
	}
	return full
}

// Dial connects to the daemon at the Unix socket addr and performs the handshake. addr is a path
// or a URI "unix://PATH", in which PATH is absolute and escaped as in a URL. "" and "unix://" are
// [DefaultSocket]. Parameters after a question mark name a store, and not a socket, so they are an
// error: pix.Open accepts them. The error is a [*DialError]. It wraps an [*activity.Error] if the
// daemon refused the connection, a [*protocol.MismatchError] if the other side is not a daemon,
// and [context.DeadlineExceeded] if it did not answer in time.
func Dial(ctx context.Context, addr string, opts *Options) (*Conn, error) {
	path, err := socketPath(addr)
	if err != nil {
		return nil, &DialError{addr, err}
	}
	return DialTransport(ctx, Unix{path}, opts)
}

// socketPath returns the path of a socket that is given as a path or as a URI.
func socketPath(addr string) (string, error) {
	rest, isURI := strings.CutPrefix(addr, "unix://")
	if !isURI {
		return addr, nil
	}
	if strings.Contains(rest, "?") {
		return "", errors.New("the URI of a socket has parameters, which only pix.Open accepts")
	}
	path, err := url.PathUnescape(rest)
	if err != nil {
		return "", err
	}
	if path != "" && !strings.HasPrefix(path, "/") {
		return "", errors.New("the path of the socket is not absolute")
	}
	return path, nil
}

// DialTransport connects to a daemon through a transport and performs the handshake. It returns the
// same errors as [Dial].
func DialTransport(ctx context.Context, t Transport, opts *Options) (*Conn, error) {
	o := opts.withDefaults()
	if own, ok := t.(interface{ handshakeTimeout() time.Duration }); ok && (opts == nil || opts.HandshakeTimeout == 0) {
		o.HandshakeTimeout = own.handshakeTimeout()
	}
	ctx, cancel := o.handshakeContext(ctx)
	defer cancel()
	nc, err := t.Dial(ctx)
	if err != nil {
		return nil, &DialError{t.String(), dialReason(ctx, err)}
	}
	c, err := newConn(ctx, nc, o)
	if err != nil {
		return nil, &DialError{t.String(), err}
	}
	return c, nil
}

// NewConn performs the handshake with the daemon at the other end of nc. The connection owns
// nc: [Conn.Close] and a failed handshake close it. It returns the same errors as [Dial].
func NewConn(ctx context.Context, nc net.Conn, opts *Options) (*Conn, error) {
	o := opts.withDefaults()
	ctx, cancel := o.handshakeContext(ctx)
	defer cancel()
	c, err := newConn(ctx, nc, o)
	if err != nil {
		return nil, &DialError{"", err}
	}
	return c, nil
}

func (o *Options) handshakeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.HandshakeTimeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, o.HandshakeTimeout)
}

// dialReason removes the parts of err that the DialError repeats.
func dialReason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return handshakeCancelled(ctx)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// handshakeCancelled returns the error of a handshake whose context has ended.
func handshakeCancelled(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return noAnswer{}
	}
	return contextError(ctx, "cancelled")
}

// noAnswer is [context.DeadlineExceeded] with a text for users.
type noAnswer struct{}

func (noAnswer) Error() string { return "no answer in time" }
func (noAnswer) Unwrap() error { return context.DeadlineExceeded }

// readBuffer is the size in bytes of a connection's read buffer. It is large enough to read the
// replies to many queries with few system calls.
const readBuffer = 64 << 10

func newConn(ctx context.Context, nc net.Conn, o Options) (*Conn, error) {
	o.trace = o.trace.next()
	c := &Conn{
		nc:    nc,
		opts:  o,
		in:    wire.NewReader(nc, readBuffer),
		slots: semaphore.NewWeighted(int64(o.Window)),
	}
	c.alive, c.cancelAlive = context.WithCancel(context.Background())
	c.lost = c.alive.Done()
	c.out.init(nc)
	// Close nc instead of setting a deadline: some implementations of net.Conn ignore
	// deadlines.
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	err := c.handshake(ctx)
	if !stop() {
		err = handshakeCancelled(ctx) // the connection is closed, even if the handshake has succeeded
		if p, ok := nc.(interface{ kill() }); ok {
			p.kill() // the caller does not wait until it exits by itself
		}
	}
	if err != nil {
		c.cancelAlive()
		nc.Close()
		o.trace.closed(err)
		return nil, c.explain(err)
	}
	c.initInline()
	c.workers.Add(2)
	go c.readLoop()
	go c.writeLoop()
	if o.Settings != nil {
		if err := c.setOptions(ctx, o.Settings); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// explain adds the standard error of the command, if the connection runs one.
func (c *Conn) explain(err error) error {
	if p, ok := c.nc.(interface{ explain(error) error }); ok {
		return p.explain(err)
	}
	return err
}

// setOptions sends the settings of Options. They cannot be unset, and a daemon that refuses one
// may have applied others, so an error breaks the connection.
func (c *Conn) setOptions(ctx context.Context, s *Settings) error {
	_, err := invoke[protocol.None](ctx, c, s)
	if err != nil {
		c.fail(fmt.Errorf("the daemon did not accept the settings: %w", err))
		return err
	}
	c.settingsSent = true
	return nil
}

// handshake performs the handshake and reads messages up to Last.
func (c *Conn) handshake(ctx context.Context) error {
	var err error
	c.params, c.greeting, err = protocol.ClientHandshakeWith(c.in, c.nc, c.opts.StoreDir, protocol.AllFeatures|c.opts.Features)
	if err != nil {
		return describeEOF(err)
	}
	c.opts.trace.greeting(c.params, c.greeting)
	handler := activity.HandlerOf(ctx)
	for {
		m, err := c.params.ReadMessage(c.in)
		if err == nil {
			c.opts.trace.message(c.params, m)
		}
		switch {
		case err != nil:
			return describeEOF(err)
		case m.Kind == protocol.MessageLast:
			return nil
		case m.Kind == protocol.MessageError:
			return m.Err
		case m.Event == nil:
			return &protocol.Error{What: "handshake", Offset: c.in.Offset(), Err: fmt.Errorf("unexpected message %s", m.Kind)}
		case handler != nil:
			handler.HandleEvent(m.Event)
		}
	}
}

// describeEOF returns a descriptive error if the daemon has closed the connection.
func describeEOF(err error) error {
	if isClosedByPeer(err) {
		return fmt.Errorf("the daemon closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// isClosedByPeer reports whether err means that the other end is closed.
func isClosedByPeer(err error) bool {
	return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe)
}

// A Transport connects to a daemon: [Unix], [Command], [SSH], or an implementation of the
// caller.
type Transport interface {
	// Dial opens a stream of bytes to the daemon. It obeys ctx, which may end as soon as Dial
	// has returned.
	Dial(ctx context.Context) (net.Conn, error)

	// String returns the name of the daemon for error messages.
	String() string
}

// Unix is the [Transport] through the Unix socket at Path. "" means [DefaultSocket]. On Linux
// the path may be of any length.
type Unix struct{ Path string }

// String returns the path.
func (u Unix) String() string {
	if u.Path == "" {
		return DefaultSocket
	}
	return u.Path
}

// Dial implements [Transport]. If the queue of the daemon is full (Nix 2.3 has a queue of
// five), it tries again until ctx ends.
func (u Unix) Dial(ctx context.Context) (net.Conn, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		nc, err := u.dial(ctx)
		if !errors.Is(err, syscall.EAGAIN) {
			return nc, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (u Unix) dial(ctx context.Context) (net.Conn, error) {
	if path := u.String(); len(path) > maxSocketPath {
		return dialLong(ctx, path)
	}
	return new(net.Dialer).DialContext(ctx, "unix", u.String())
}

// maxSocketPath is a length in bytes of a path that the sockaddr_un of every system can hold.
const maxSocketPath = 100
