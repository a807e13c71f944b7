package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"pix/activity"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// A Conn is a connection to a daemon. Its methods may be called by any number of
// goroutines at once.
type Conn struct {
	nc       net.Conn
	opts     Options
	params   protocol.Params
	greeting protocol.Greeting

	// slots has one place for each query that may be under way. A call that needs the
	// connection for itself takes them all.
	slots *semaphore.Weighted

	in  *wire.Reader // the read loop's alone
	out outbox

	mu      sync.Mutex
	pending []*call         // sent, or about to be sent, and not yet answered
	err     error           // why the connection is broken
	refused *activity.Error // the refusal of an upload that the daemon may not have read

	hasRoots     atomic.Bool // the daemon keeps paths from being collected for this connection
	settingsSent bool        // so the connection does not serve queries of other callers
	alone        bool        // every operation has the connection for itself

	callbacks atomic.Int32  // callbacks that run, and open archives that are not being read: see beginCallback
	steps     atomic.Uint64 // callbacks that began
	callers   goroutines    // run callbacks of the call that has the connection for itself
	leased    bool          // by a Pool, whose callers cannot reach the connection

	alive   context.Context // ends when err is set
	die     context.CancelFunc
	lost    <-chan struct{} // alive.Done()
	workers sync.WaitGroup  // the loops that read and write, and the closing of nc
}

// Version returns the version that both sides speak.
func (c *Conn) Version() protocol.Version { return c.params.Version }

// Features returns the features that both sides have.
func (c *Conn) Features() protocol.Features { return c.params.Features }

// DaemonVersion returns the newest version that the daemon speaks.
func (c *Conn) DaemonVersion() protocol.Version { return c.greeting.DaemonVersion }

// NixVersion returns the daemon's own version, such as "2.34.8", or "" before protocol
// 1.33.
func (c *Conn) NixVersion() string { return c.greeting.NixVersion }

// Trust returns whether the daemon trusts us; unknown before protocol 1.35.
func (c *Conn) Trust() protocol.Trust { return c.greeting.Trust }

// Dir returns the store directory.
func (c *Conn) Dir() storepath.Dir { return c.params.Dir }

// Err returns nil while the connection is good, and why it is broken after that:
// [ErrClosed] if it was closed by Close.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterBreak calls f on a new goroutine when the connection breaks or is closed: [Conn.Err] says why. stop
// forgets f, and reports whether it did before f was called.
func (c *Conn) AfterBreak(f func()) (stop func() bool) { return context.AfterFunc(c.alive, f) }

// keeps reports whether the daemon keeps something from being collected after the
// operation, as long as the connection lives.
func keeps(op protocol.Op) bool {
	switch op {
	case protocol.AddTempRoot, protocol.AddTempRoots, protocol.AddToStore, protocol.AddTextToStore, protocol.AddToStoreNar,
		protocol.AddMultipleToStore, protocol.AddToStoreScanning, protocol.EnsurePath,
		protocol.BuildPaths, protocol.BuildPathsWithResults, protocol.BuildDerivation:
		return true
	}
	return false
}

// Close closes the connection. Calls under way fail. It returns when the connection's
// goroutines have ended, and with them the command that was run to connect.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.workers.Wait()
	return nil
}

// fail breaks the connection, unless it is broken already. It does not wait until the transport
// is closed, which may take long: a command gets time to end, TLS sends a last record.
func (c *Conn) fail(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if c.refused != nil && why != ErrClosed { // what came after the refusal follows from it
		why = &refusedError{c.refused, why}
	}
	c.err = why
	c.opts.trace.closed(why)
	c.die()
	c.out.close()
	c.workers.Go(func() { c.nc.Close() }) // the read loop is still among the workers
}

// readLoop reads messages as long as the connection is good, even if no call waits for them.
func (c *Conn) readLoop() {
	defer c.workers.Done()
	c.fail(c.read())
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, call := range pending {
		call.finish(&LostError{call.op, c.Err()})
		c.release(call)
	}
}

// read reads messages and replies, and returns why it could not go on.
func (c *Conn) read() error {
	var last *activity.Error // with which the previous call ended, if nothing came since
	for {
		m, err := c.params.ReadMessage(c.in)
		if err != nil {
			return c.readError(err)
		}
		c.opts.trace.message(c.params, m)
		call := c.first()
		if m.Kind == protocol.MessageError && (call == nil || c.isEcho(last, m.Err)) {
			return &hangUp{m.Err}
		}
		if call == nil {
			return &protocol.Error{What: "message " + m.Kind.String(), Offset: c.in.Offset(), Err: errUnasked}
		}
		last = nil
		switch m.Kind {
		case protocol.MessageLast:
			if err := c.params.ReadReply(c.in, call.op, call.reply); err != nil {
				return c.readError(err)
			}
			c.opts.trace.reply(c.params, call.op, call.reply)
			c.answered(call, nil)
			if err := c.yieldStream(call); err != nil {
				return err
			}
		case protocol.MessageError:
			last = m.Err
			c.answered(call, m.Err)
		case protocol.MessageRead, protocol.MessageWrite:
			if m.Kind == protocol.MessageRead && call.asked(m.Want) {
				continue
			}
			return &protocol.Error{What: call.op.String(), Offset: c.in.Offset(), Err: errUnasked}
		default:
			call.events.push(m.Event, c.lost)
		}
	}
}

// asked passes the number of bytes that the daemon asks for to the upload. It returns false if the
// daemon must not ask: the call is no upload of this kind, or has not yet sent the bytes of the last request for them.
func (k *call) asked(want uint64) bool {
	select {
	case k.asks <- want:
		return true
	default:
		return false // also where there is no channel
	}
}

// yieldStream lets the caller of a call that was answered read the archive that follows the answer
// from the stream. It returns when the caller has read the archive, or the connection is lost.
func (c *Conn) yieldStream(k *call) error {
	if k.archive == nil {
		return nil
	}
	select {
	case <-k.archive:
		return nil
	case <-c.lost:
		return c.Err()
	}
}

// readError says who was at fault when reading failed. After a failed write, which also
// ends the reading, that is the reason.
func (c *Conn) readError(err error) error {
	if writing := c.out.failure(); writing != nil {
		err = writing
	}
	if c.Err() != nil { // we have closed it ourselves
		return err
	}
	return c.explain(atEnd(err))
}

// echoTime is how long to wait for the hang-up after an error that came twice.
const echoTime = 200 * time.Millisecond

// isEcho reports whether e is the same error once more with which the previous call
// ended. So it is when the daemon refuses a request before it begins to work: it says
// why, says it again, and hangs up. Then e is no answer to the next call. Two calls may
// also fail alike, so the hang-up decides.
func (c *Conn) isEcho(last, e *activity.Error) bool {
	if last == nil || last.Message != e.Message || c.in.Buffered() > 0 {
		return false
	}
	if errors.Is(c.nc.SetReadDeadline(time.Now().Add(echoTime)), os.ErrNoDeadline) {
		return false // any other failure means that the connection is closed
	}
	defer c.nc.SetReadDeadline(time.Time{})
	err := c.in.Peek() // closing with our request unread, the daemon may also reset the connection
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// first returns the call whose answer comes next, or nil.
func (c *Conn) first() *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return nil
	}
	return c.pending[0]
}

// answered ends the first pending call.
func (c *Conn) answered(call *call, err error) {
	c.mu.Lock()
	c.pending[0] = nil
	if c.pending = c.pending[1:]; len(c.pending) == 0 {
		c.pending = nil
	}
	if said, failed := err.(*activity.Error); failed && call.body {
		c.refused = said
	}
	c.mu.Unlock()
	call.finish(err)
	c.release(call)
}

// release gives back the place of a query. An exclusive call gives back its own when the
// caller is done too.
func (c *Conn) release(call *call) {
	if !call.exclusive {
		c.slots.Release(1)
	}
}

// acquireSlots takes n slots for an operation. It does not wait on a broken connection, even if an
// open archive still holds the slots.
func (c *Conn) acquireSlots(ctx context.Context, op protocol.Op, n int64) error {
	if ctx.Err() != nil {
		return cancelled(ctx, op)
	}
	if c.slots.TryAcquire(n) {
		return nil
	}
	if c.callers.here() {
		return fmt.Errorf("%s: %w", op, ErrBusy)
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.alive, cancel)()
	if c.slots.Acquire(waiting, n) == nil {
		return nil
	}
	if err := c.Err(); err != nil {
		return &LostError{op, err}
	}
	return cancelled(ctx, op)
}

// leaveAlone gives back a connection that a call had for itself.
func (c *Conn) leaveAlone() {
	c.callers.clear()
	c.slots.Release(int64(c.opts.Window))
}
