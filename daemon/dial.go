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

	// DrainTimeout is how long the answer to a cancelled query may take before the
	// connection is given up; 0 is five seconds.
	DrainTimeout time.Duration

	// Window is the number of queries that may be under way at once; 0 is 1024.
	Window int
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
		full.Window = 1024
	}
	return full
}

// Dial connects to the daemon whose Unix socket is at addr, [DefaultSocket] if that is
// "", and shakes hands. The error is a [*DialError]; it wraps an [*activity.Error] if the
// daemon refused us, a [*protocol.MismatchError] if what listens there is no daemon, and
// [context.DeadlineExceeded] if it stayed silent.
func Dial(ctx context.Context, addr string, opts *Options) (*Conn, error) {
	if addr == "" {
		addr = DefaultSocket
	}
	o := opts.withDefaults()
	ctx, cancel := o.handshakeContext(ctx)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "unix", addr)
	if err != nil {
		return nil, &DialError{addr, dialReason(ctx, err)}
	}
	c, err := newConn(ctx, nc, o)
	if err != nil {
		return nil, &DialError{addr, err}
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
		return fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	return context.Cause(ctx)
}

// readBuffer is the size in bytes of a connection's buffer: replies to a window of
// queries come in few system calls.
const readBuffer = 64 << 10

func newConn(ctx context.Context, nc net.Conn, o Options) (*Conn, error) {
	c := &Conn{
		nc:    nc,
		opts:  o,
		in:    wire.NewReader(nc, readBuffer),
		slots: semaphore.NewWeighted(int64(o.Window)),
		lost:  make(chan struct{}),
	}
	c.out.init()
	// Closing, not a deadline: not every net.Conn has deadlines that work.
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	err := c.handshake(ctx)
	if !stop() {
		err = silent(ctx) // the connection is closed, whatever came of the handshake
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.workers.Add(2)
	go c.readLoop()
	go c.writeLoop()
	return c, nil
}

// handshake greets the daemon and hears what it says up to Last.
func (c *Conn) handshake(ctx context.Context) error {
	var err error
	c.params, c.greeting, err = protocol.ClientHandshake(c.in, c.nc, c.opts.StoreDir)
	if err != nil {
		return atEnd(err)
	}
	handler := activity.HandlerOf(ctx)
	for {
		m, err := c.params.ReadMessage(c.in)
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
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("the daemon closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return err
}
