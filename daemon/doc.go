// Package daemon is the client of the Nix daemon.
//
// There are three layers, and each can be used alone: messages (package protocol), a
// connection ([Conn]), and a [Pool] of them, which is the store that most people want:
//
//	pool, err := daemon.Open(ctx, daemon.Unix{}, nil)
//
// A [Transport] reaches the daemon: by its Unix socket ([Unix]), by ssh on another machine
// ([SSH]), by a command that speaks on its standard streams ([Command]), or in a way of the
// caller's own.
//
// # A connection
//
// [Dial] connects to the daemon's socket and shakes hands; a [Conn] then has a method
// for each operation. Any number of goroutines may call them at once:
//
//   - Queries that the daemon answers from its own database are pipelined: they are sent
//     at once, one behind the other, and answered in that order. Ten thousand of them cost
//     little more than one round trip.
//   - Everything else (builds, uploads, downloads) has the connection for itself, and
//     waits until it is free. A handler, a reader of an upload or the body of a loop over
//     archives that calls its own connection would wait for itself: it gets [ErrBusy]. A
//     [Pool] uses another connection for such a call.
//   - Many path infos at once, and those of whole closures, come as iterators
//     ([Conn.QueryPathInfos], [Conn.QueryClosure]).
//
// What the daemon does not know because of its version is an error that is
// [errors.ErrUnsupported], and what it would refuse because it does not trust us a
// [*protocol.TrustError], both before a byte is sent.
//
// One goroutine of the connection always reads, whatever the callers do, so that a daemon
// that talks while it is being written to never blocks, and one writes. What the daemon
// says meanwhile goes to the handler in the context of the call that caused it (see
// package activity), on the goroutine of its caller.
//
// # State
//
// A connection is good or broken. An [*activity.Error], which a daemon raises when an
// operation fails, leaves it good: the next call finds the stream in step. Anything else
// breaks it (a premature end, bytes that are not of the protocol, a stream that was
// cancelled half-way), and [Conn.Err] then says why. Calls that were under way
// fail with an error that is [ErrConnLost], and so do those that come later.
//
// A daemon may refuse an upload before it reads the contents, and take them for its next
// requests. So contents are sent in frames that no daemon takes for a request, and after an
// error the connection asks the daemon a question of its own before the call returns, which
// costs one round trip. Unless the daemon gives the one right answer, the connection is
// broken, and [Conn.Err] says what the daemon refused.
//
// A panic in a handler, a reader, a sequence or the body of a loop comes out of the call that
// runs it, and so does [runtime.Goexit]. It costs at most the connection: the calls after it get
// an answer or an error.
//
// Every call obeys its context. A cancelled query returns at once, and its answer is
// read and dropped when it comes; if it has not come within Options.DrainTimeout, the
// connection is broken. Cancelling anything else closes the connection, which is how a
// daemon learns of it.
//
// An upload reads the caller's reader on another goroutine. It does not read it after the call
// has returned, with one exception: a Read cannot be interrupted. If the context ends or the
// connection is lost during a Read that takes more than a second longer, the call returns, and
// that Read is the last.
//
// # A server in front
//
// A server that serves the daemon to clients of its own connects each of them by
// [Pool.ConnectClient]: such a connection takes no place of the pool, has the client's settings and
// temporary roots, and ends with the client.
package daemon
