package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"pix/activity"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// DefaultSocket is where the daemon listens unless it was told another place.
const DefaultSocket = "/nix/var/nix/daemon-socket/socket"

// Options says how to connect. Nil and the zero values are useful.
type Options struct {
	// StoreDir is the store directory of the daemon, which the protocol does not
	// mention. "" is [storepath.DefaultDir]. A path of another directory is refused
	// before it is sent, and breaks the connection when it is received.
	StoreDir storepath.Dir

	// HandshakeTimeout is how long connecting and the handshake may take together; 0 is
	// ten seconds, a negative one without limit.
	HandshakeTimeout time.Duration

	// DrainTimeout is how long the answer to a cancelled query may take, and how long a
	// daemon that has refused an upload may take to show that it has read it, before the
	// connection is given up; 0 is five seconds.
	DrainTimeout time.Duration

	// Window is the number of queries that may be under way at once; 0 is 4096.
	Window int

	// Settings are told to the daemon when the connection is made, and hold as long as it
	// does. Nil tells nothing: the daemon's own configuration holds. See [DefaultSettings].
	// A daemon that does not trust us passes over most of them.
	Settings *Settings

	// Features are offered to the daemon besides [protocol.AllFeatures]. A program that
	// runs in a build offers [protocol.BuildFeatures], without which the daemon of the
	// build refuses [Conn.SubmitOutput] and [Conn.AddToStoreScanning]. Other daemons ignore
	// them. Where [protocol.NoSetOptions] is agreed on, Settings must be nil.
	Features protocol.Features

	// Trace gets a line for each message, in both directions; see TraceBody for how much
	// of it. Its errors are ignored, and after a panic it gets no more lines. Connections that
	// share these options in a [Pool] write their lines one after the other.
	Trace io.Writer

	// TraceBody is how many bytes of long texts and of bodies a trace shows; 0 is
	// [protocol.TraceBody], a negative number is all of them, so that package daemontest
	// can replay it.
	TraceBody int

	// MaxConns is how many connections a [Pool] uses at once for calls that need one for
	// themselves, and how many idle ones it keeps. 0 is 8. The connection for queries, connections of
	// sessions, and connections that wait for the caller's code do not count: see [Pool].
	MaxConns int

	// IdleTimeout is how long a [Pool] keeps a connection that is not used and holds no
	// temporary roots; 0 is a minute, a negative one for ever.
	IdleTimeout time.Duration

	trace *tracer
}

// Settings are what a client may tell a daemon about how to work.
type Settings = protocol.SetOptionsRequest

// DefaultSettings returns the settings that Nix's own client has by default. All of them
// are sent, so begin with these: the zero value would forbid all builds.
func DefaultSettings() *Settings {
	return &Settings{Verbosity: activity.LevelInfo, MaxBuildJobs: 1, VerboseBuild: true, UseSubstitutes: true}
}

// withDefaults returns a copy in which no zero value has a meaning of its own.
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

// Dial connects to the daemon whose Unix socket is at addr, [DefaultSocket] if that is
// "", and shakes hands. The error is a [*DialError]; it wraps an [*activity.Error] if the
// daemon refused us, a [*protocol.MismatchError] if what listens there is no daemon, and
// [context.DeadlineExceeded] if it stayed silent.
func Dial(ctx context.Context, addr string, opts *Options) (*Conn, error) {
	return DialTransport(ctx, Unix{addr}, opts)
}

// DialTransport connects to a daemon by a transport and shakes hands. The errors are those
// of [Dial].
func DialTransport(ctx context.Context, t Transport, opts *Options) (*Conn, error) {
	o := opts.withDefaults()
	if patient, ok := t.(interface{ handshakeTimeout() time.Duration }); ok && (opts == nil || opts.HandshakeTimeout == 0) {
		o.HandshakeTimeout = patient.handshakeTimeout()
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

// NewConn shakes hands with the daemon at the other end of nc, which from then on is the
// connection's: it is closed by [Conn.Close], and if the handshake fails. The errors are
// those of [Dial].
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

// dialReason takes the words off err that the DialError has already.
func dialReason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return silent(ctx)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// silent says that the handshake was cut off.
func silent(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return noAnswer{}
	}
	return ended(ctx, "cancelled")
}

// noAnswer is [context.DeadlineExceeded] in words for users.
type noAnswer struct{}

func (noAnswer) Error() string { return "no answer in time" }
func (noAnswer) Unwrap() error { return context.DeadlineExceeded }

// readBuffer is the size in bytes of a connection's buffer: replies to a window of
// queries come in few system calls.
const readBuffer = 64 << 10

func newConn(ctx context.Context, nc net.Conn, o Options) (*Conn, error) {
	o.trace = o.trace.next()
	c := &Conn{
		nc:    nc,
		opts:  o,
		in:    wire.NewReader(nc, readBuffer),
		slots: semaphore.NewWeighted(int64(o.Window)),
	}
	c.alive, c.die = context.WithCancel(context.Background())
	c.lost = c.alive.Done()
	c.out.init(nc)
	// Closing, not a deadline: not every net.Conn has deadlines that work.
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	err := c.handshake(ctx)
	if !stop() {
		err = silent(ctx) // the connection is closed, whatever came of the handshake
		if p, ok := nc.(interface{ kill() }); ok {
			p.kill() // the caller does not wait until it ends by itself
		}
	}
	if err != nil {
		c.die()
		nc.Close()
		o.trace.closed(err)
		return nil, c.explain(err)
	}
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

// explain adds what the program at the other end said on its standard error, if it is one
// that we run.
func (c *Conn) explain(err error) error {
	if p, ok := c.nc.(interface{ explain(error) error }); ok {
		return p.explain(err)
	}
	return err
}

// setOptions sends the settings of Options. They cannot be taken back, and a daemon that refuses
// one may have taken others, so an error breaks the connection.
func (c *Conn) setOptions(ctx context.Context, s *Settings) error {
	_, err := ask[protocol.None](ctx, c, s)
	if err != nil {
		c.fail(fmt.Errorf("the settings were not taken: %w", err))
		return err
	}
	c.settingsSent = true
	return nil
}

// handshake greets the daemon and hears what it says up to Last.
func (c *Conn) handshake(ctx context.Context) error {
	var err error
	c.params, c.greeting, err = protocol.ClientHandshakeWith(c.in, c.nc, c.opts.StoreDir, protocol.AllFeatures|c.opts.Features)
	if err != nil {
		return atEnd(err)
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
			return atEnd(err)
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

// atEnd says of an end of the stream, or of a pipe that takes nothing more, who ended it.
func atEnd(err error) error {
	if isEnd(err) {
		return fmt.Errorf("the daemon closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// isEnd reports whether err says that the other end is closed.
func isEnd(err error) bool {
	return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe)
}
