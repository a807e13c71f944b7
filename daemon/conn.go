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

// A Conn is a connection to a daemon. Its methods may be called by any number of goroutines at
// the same time.
type Conn struct {
	nc       net.Conn
	opts     Options
	params   protocol.Params
	greeting protocol.Greeting

	// slots has a slot for each query that may be pending. An exclusive call acquires all of
	// them.
	slots *semaphore.Weighted

	in  *wire.Reader // only used by readLoop, or by the caller to whom it yields the stream
	out outbox

	inline inline // guarded by mu where its fields say so

	mu      sync.Mutex
	pending []*call         // sent or queued, and not answered yet
	stray   bool            // a message has arrived that belongs to no call: it breaks the connection
	err     error           // why the connection is broken
	refused *activity.Error // the error of an upload whose body the daemon may not have read

	hasRoots      atomic.Bool // the connection may have temporary roots
	settingsSent  bool        // the pool does not use such a connection for shared queries
	exclusiveOnly bool        // every operation is exclusive

	callbacks        atomic.Int32  // running callbacks, and open archives that are not being read: see beginCallback
	callbacksStarted atomic.Uint64 // number of callbacks that have begun
	callsStarted     atomic.Uint64 // number of calls that have begun
	callers          goroutines    // goroutines that run callbacks of the exclusive call
	isLeased         bool          // leased from a Pool, so the caller's code cannot call this connection

	alive       context.Context // done when err is set
	cancelAlive context.CancelFunc
	lost        <-chan struct{} // alive.Done()
	workers     sync.WaitGroup  // readLoop, writeLoop, and the closing of nc
}

// Version returns the negotiated version.
func (c *Conn) Version() protocol.Version { return c.params.Version }

// Features returns the negotiated features.
func (c *Conn) Features() protocol.Features { return c.params.Features }

// DaemonVersion returns the newest protocol version that the daemon supports.
func (c *Conn) DaemonVersion() protocol.Version { return c.greeting.DaemonVersion }

// NixVersion returns the version of the daemon, such as "2.34.8", or "" before protocol 1.33.
func (c *Conn) NixVersion() string { return c.greeting.NixVersion }

// Trust returns whether the daemon trusts the user. It is unknown before protocol 1.35.
func (c *Conn) Trust() protocol.Trust { return c.greeting.Trust }

// Dir returns the store directory.
func (c *Conn) Dir() storepath.Dir { return c.params.Dir }

// Err returns the reason why the connection is broken, or nil if it is usable. After Close it
// is [ErrClosed].
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterBreak calls f on a new goroutine when the connection breaks or is closed. [Conn.Err]
// then returns the reason. stop cancels this, and reports whether it did so before f was
// called.
func (c *Conn) AfterBreak(f func()) (stop func() bool) { return context.AfterFunc(c.alive, f) }

// createsRoots reports whether an operation creates temporary roots, which the daemon keeps as
// long as the connection.
func createsRoots(op protocol.Op) bool {
	switch op {
	case protocol.AddTempRoot, protocol.AddTempRoots, protocol.AddToStore, protocol.AddTextToStore, protocol.AddToStoreNar,
		protocol.AddMultipleToStore, protocol.AddToStoreScanning, protocol.EnsurePath,
		protocol.BuildPaths, protocol.BuildPathsWithResults, protocol.BuildDerivation:
		return true
	}
	return false
}

// Close closes the connection. Running calls fail. Close returns when the goroutines of the
// connection have ended, and the command that was started to connect.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.workers.Wait()
	return nil
}

// fail breaks the connection, unless it is broken already. It does not wait until the transport
// is closed, which may take long: a command gets time to exit, TLS sends a last record.
func (c *Conn) fail(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if c.refused != nil && why != ErrClosed { // the refusal has caused the failure
		why = &refusedError{c.refused, why}
	}
	c.err = why
	c.opts.trace.closed(why)
	c.cancelAlive()
	c.out.close()
	c.workers.Go(func() { c.nc.Close() }) // allowed, since readLoop is still counted in workers
}

// readLoop reads messages until the connection breaks, even if no call is pending.
func (c *Conn) readLoop() {
	defer c.workers.Done()
	c.fail(c.readMessages())
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, call := range pending {
		call.resolve(&LostError{call.op, c.Err()})
		c.releaseSlot(call)
	}
}

// readMessages reads messages and replies. It returns the error that ends the connection.
func (c *Conn) readMessages() error {
	var last *activity.Error // the error of the previous call, if no message came since
	for {
		m, err := c.params.ReadMessage(c.in)
		if err != nil {
			return c.readError(err)
		}
		c.opts.trace.message(c.params, m)
		call := c.firstPending()
		if m.Kind == protocol.MessageError && (call == nil || c.isRepeatedError(last, m.Err)) {
			return &hangUp{m.Err}
		}
		if call == nil {
			return &protocol.Error{What: "message " + m.Kind.String(), Offset: c.in.Offset(), Err: errUnrequested}
		}
		last = nil
		switch m.Kind {
		case protocol.MessageLast:
			if err := c.params.ReadReply(c.in, call.op, call.reply); err != nil {
				return c.readError(err)
			}
			c.opts.trace.reply(c.params, call.op, call.reply)
			if c.resolveFirst(call, nil) {
				c.waitIdle()
			}
			if err := c.yieldStream(call); err != nil {
				return err
			}
		case protocol.MessageError:
			last = m.Err
			c.resolveFirst(call, m.Err)
		case protocol.MessageRead, protocol.MessageWrite:
			if m.Kind == protocol.MessageRead && call.passDemand(m.Want) {
				continue
			}
			return &protocol.Error{What: call.op.String(), Offset: c.in.Offset(), Err: errUnrequested}
		default:
			call.events.push(m.Event, c.lost)
		}
	}
}

// passDemand passes the number of bytes that the daemon asks for to the upload. It returns
// false if the daemon may not ask: the call is not such an upload, or has not answered the
// previous demand yet.
func (k *call) passDemand(want uint64) bool {
	select {
	case k.demands <- want:
		return true
	default:
		return false // also if there is no channel
	}
}

// yieldStream lets the caller read the archive that follows the reply. It returns when the
// caller has read the archive, or the connection is lost.
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

// readError returns the reason for a failed read. A failed write also ends the reading. Then
// the reason is the error of the write.
func (c *Conn) readError(err error) error {
	if writing := c.out.failure(); writing != nil {
		err = writing
	}
	if c.Err() != nil { // closed on this side
		return err
	}
	return c.explain(describeEOF(err))
}

// repeatTimeout is how long to wait for the hang-up after a repeated error.
const repeatTimeout = 200 * time.Millisecond

// isRepeatedError reports whether e repeats the error of the previous call. A daemon that
// refuses a request before it begins to work sends the error twice and hangs up. Then e is not
// the answer to the next call. Two calls may also fail with the same error, so a hang-up must
// follow.
func (c *Conn) isRepeatedError(last, e *activity.Error) bool {
	if last == nil || last.Message != e.Message || c.in.Buffered() > 0 {
		return false
	}
	if errors.Is(c.nc.SetReadDeadline(time.Now().Add(repeatTimeout)), os.ErrNoDeadline) {
		return false // after any other error the connection is closed
	}
	defer c.nc.SetReadDeadline(time.Time{})
	err := c.in.Peek() // a daemon that closes before it has read a request resets the connection
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// firstPending returns the call that the next message belongs to, or nil. A call that was sent
// after a stray message had arrived would otherwise take that message for its answer.
func (c *Conn) firstPending() *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 || c.stray {
		return nil
	}
	return c.pending[0]
}

// resolveFirst resolves the first pending call. It reports whether callers may read from now
// on: after the answer to a query. After an error the daemon may hang up, which readLoop must
// notice.
func (c *Conn) resolveFirst(call *call, err error) (idle bool) {
	c.mu.Lock()
	c.popPending(err == nil && call.archive != nil)
	idle = err == nil && !call.exclusive && c.stopReading()
	if refusal, isRefusal := err.(*activity.Error); isRefusal && call.hasBody {
		c.refused = refusal
	}
	c.mu.Unlock()
	call.resolve(err)
	c.releaseSlot(call)
	return idle
}

// popPending removes the first pending call. More bytes after the answer to the last call are a
// stray message, unless they are the archive of that call. The caller holds c.mu, and reads the
// stream.
func (c *Conn) popPending(archiveFollows bool) {
	c.pending[0] = nil
	if c.pending = c.pending[1:]; len(c.pending) == 0 {
		c.pending = nil
		c.stray = !archiveFollows && c.in.Buffered() > 0
	}
}

// releaseSlot releases the slot of a query. An exclusive call releases its own slots, when its
// caller is done, too.
func (c *Conn) releaseSlot(call *call) {
	if !call.exclusive {
		c.slots.Release(1)
	}
}

// acquireSlots acquires n slots for an operation. It does not wait on a broken connection, even
// if an open archive still holds the slots.
func (c *Conn) acquireSlots(ctx context.Context, op protocol.Op, n int64) error {
	if ctx.Err() != nil {
		return cancelled(ctx, op)
	}
	c.callsStarted.Add(1)
	if c.slots.TryAcquire(n) {
		return nil
	}
	if c.callers.containsCurrent() {
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

// releaseExclusive ends an exclusive call.
func (c *Conn) releaseExclusive() {
	c.callers.clear()
	c.slots.Release(int64(c.opts.Window))
}

// ErrConnLost matches the error of each call whose connection broke before the answer. It is
// unknown whether the daemon has done the work.
var ErrConnLost = errors.New("connection to the Nix daemon lost")

// ErrClosed is the reason for a connection that was closed by [Conn.Close].
var ErrClosed = errors.New("connection closed")

// A LostError reports that the connection was lost during an operation. It matches
// [ErrConnLost].
type LostError struct {
	Op  protocol.Op
	Err error
}

func (e *LostError) Error() string { return fmt.Sprintf("%s: %v: %v", e.Op, ErrConnLost, e.Err) }

// Is reports whether target is [ErrConnLost].
func (e *LostError) Is(target error) bool { return target == ErrConnLost }

// Unwrap returns e.Err.
func (e *LostError) Unwrap() error { return e.Err }

// A DialError reports that connecting to the daemon failed.
type DialError struct {
	Addr string // of the transport; "" if the caller made the connection
	Err  error
}

func (e *DialError) Error() string {
	if e.Addr == "" {
		return fmt.Sprintf("greeting the Nix daemon: %v", e.Err)
	}
	return fmt.Sprintf("connecting to the Nix daemon at '%s': %v", e.Addr, e.Err)
}

// Unwrap returns e.Err.
func (e *DialError) Unwrap() error { return e.Err }

// A hangUp reports that the daemon closed the connection after it had sent an error.
type hangUp struct{ err error }

func (e *hangUp) Error() string { return fmt.Sprintf("the daemon hung up after saying: %v", e.err) }

func (e *hangUp) Unwrap() error { return e.err }

// cancelled returns the error of a call whose context has ended: ctx.Err(), and the cause if
// there is one.
func cancelled(ctx context.Context, op protocol.Op) error { return contextError(ctx, op.String()) }

// contextError is [cancelled] for a step that is not an operation.
func contextError(ctx context.Context, what string) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != err {
		return fmt.Errorf("%s: %w: %w", what, err, cause)
	}
	return fmt.Errorf("%s: %w", what, err)
}
