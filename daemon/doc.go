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
// An operation that the daemon's version does not have is an error that is
// [errors.ErrUnsupported]. One that the daemon would refuse because it does not trust us is a
// [*protocol.TrustError]. Both errors come before a byte is sent.
//
// One goroutine of the connection always reads, and one writes. So the daemon can send events
// while the client sends an upload, and neither side blocks. An event goes to the handler in
// the context of the call that caused it (see package activity), on the goroutine of the caller.
//
// # State
//
// A connection is good or broken. An [*activity.Error], which a daemon raises when an
// operation fails, leaves it good: the next call finds the stream in step. Anything else
// breaks it (a premature end, bytes that are not of the protocol, a stream that was
// cancelled half-way), and [Conn.Err] then returns the reason. Running and later calls fail
// with an error that is [ErrConnLost].
//
// A daemon may refuse an upload before it reads the contents, and then read the contents as
// requests. Two measures prevent that a request from the contents is run:
//
//   - Contents are sent in frames whose lengths are no operations of any daemon.
//   - After an error, and before the call returns, the connection asks whether a path is valid
//     that no store has ([ProbePath]). This costs one round trip. Unless the daemon answers
//     that the path is not valid, the connection is broken, and [Conn.Err] has the refusal.
//
// A panic or a call of [runtime.Goexit] in a handler, a reader, a sequence or the body of a loop
// reaches the goroutine of the caller. It breaks at most the connection: later calls get an answer
// or an error, and do not hang.
//
// Every call obeys its context. A cancelled query returns at once, and its answer is
// read and dropped when it comes; if it has not come within Options.DrainTimeout, the
// connection is broken. Cancelling anything else closes the connection, which is how a
// daemon learns of it.
//
// An upload reads the caller's reader on another goroutine, which ends before the call returns. There
// is one exception, because a Read cannot be interrupted: if the context ends or the connection is
// lost, and a Read does not return within a second, the call returns. That Read is the last.
//
// # A server in front
//
// A server that serves the daemon to clients of its own connects each of them by
// [Pool.ConnectClient]: such a connection takes no place of the pool, has the client's settings and
// temporary roots, and ends with the client.
package daemon
