// Package daemon is a client of the Nix daemon.
//
// It has three layers, and each can be used alone: messages (package protocol), a connection
// ([Conn]), and a [Pool] of connections, which is the store that most programs need:
//
//	pool, err := daemon.Open(ctx, daemon.Unix{}, nil)
//
// A [Transport] connects to the daemon: through its Unix socket ([Unix]), through ssh to
// another machine ([SSH]), through the standard streams of a command ([Command]), or through an
// implementation of the caller.
//
// # A connection
//
// [Dial] connects to the daemon's socket and performs the handshake. A [Conn] has a method for
// each operation. Any number of goroutines may call them at the same time:
//
//   - Queries that the daemon answers from its own database are pipelined: they are sent one
//     after the other without waiting, and answered in the same order. Ten thousand of them take
//     little more than one round trip.
//   - Every other operation (builds, uploads, downloads) uses the connection exclusively, and
//     waits until it is free. A handler, a reader of an upload or the body of a loop over
//     archives that calls its own connection would wait for itself: it gets [ErrBusy]. A [Pool]
//     uses another connection for such a call.
//   - Iterators return many path infos, or the path infos of a closure ([Conn.QueryPathInfos],
//     [Conn.QueryClosure]).
//
// An operation that the daemon's version does not have fails with [errors.ErrUnsupported]. An
// operation that the daemon would refuse because it does not trust the user fails with a
// [*protocol.TrustError]. In both cases nothing is sent.
//
// A connection has a goroutine that always reads, and one that writes. So the daemon can send
// events during an upload, and neither side blocks. An event goes to the handler in the context
// of the call that caused it (see package activity), on the goroutine of the caller.
//
// On a Unix socket, a query that follows other queries and is the only one is written and read
// by its caller, because changing between goroutines would take longer than the query. Until 20
// milliseconds after the last of these queries no goroutine reads. A hang-up during this time is
// noticed by the next call, before it sends anything, or at the end of the time.
//
// # State
//
// A connection is usable or broken. An [*activity.Error], which a daemon sends when an
// operation fails, leaves it usable: the next call finds the stream in step. Any other failure
// breaks it: a premature end, bytes that violate the protocol, a stream that was cancelled
// half-way. [Conn.Err] then returns the reason. Running and later calls fail with an error that
// matches [ErrConnLost].
//
// A daemon may refuse an upload before it reads the contents, and then read the contents as
// requests. Two measures prevent it from running a request in the contents:
//
//   - Contents are sent in frames whose lengths are not operations of any daemon.
//   - After an error, and before the call returns, the connection asks whether a path is valid
//     that no store has ([ProbePath]). This takes one round trip. Unless the daemon answers that
//     the path is not valid, the connection is broken, and [Conn.Err] contains the refusal.
//
// A panic or a call of [runtime.Goexit] in a handler, a reader, a sequence or the body of a
// loop reaches the goroutine of the caller. It breaks at most the connection: later calls
// return an answer or an error, and do not hang.
//
// Every call obeys its context. A cancelled query returns at once. Its answer is read and
// dropped. If the answer does not come within Options.DrainTimeout, the connection is broken.
// Cancelling any other call closes the connection, so that the daemon stops its work.
//
// An upload reads the caller's reader on another goroutine, which ends before the call returns.
// There is one exception, because a Read cannot be interrupted: if the context ends or the
// connection is lost, and a Read does not return within a second, the call returns. The upload
// does not call Read again.
//
// # A server in front
//
// A server that forwards requests of its own clients to the daemon connects each of them by
// [Pool.ConnectClient]. Such a connection does not count against the limits of the pool, has
// the client's settings and temporary roots, and ends with the client.
package daemon
