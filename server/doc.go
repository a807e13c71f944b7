// Package server serves any store.Store over the worker protocol, as nix-daemon serves
// Nix's. Whoever speaks to a Nix daemon, of whatever version from 1.18 on, can speak to it:
// package daemon, a stock nix, a remote builder.
//
//	l, err := net.Listen("unix", "/run/pix/socket")
//	…
//	err = server.Accept(ctx, l, func(ctx context.Context, nc net.Conn) {
//		server.Serve(ctx, nc, s, &server.Options{Trusted: true})
//	})
//
// [Accept] accepts connections. [Serve] serves one, whatever that is: a socket, the
// standard streams of a process behind ssh, a pipe in memory.
//
// # What a store must have
//
// Next to nothing: see package store. Each operation is given to the capability that it is
// about. Where the store has none, the answer is what Nix's own stores without it answer:
// no substitutes, nothing to optimise, or an error that says what is not supported.
//
// What the store tells while it works, through the handler in the context
// ([activity.WithHandler]), goes to the client. So does its error, word for word.
//
// # A connection
//
// Three goroutines belong to it. One reads what comes into a small buffer, so that a
// client that hangs up is noticed while the store works, and its context is cancelled. One
// writes, so that nothing waits for a client that is itself busy writing. Between them the
// operations run, one after the other, as the protocol wants it.
//
//	socket → inbox → request → store → reply → outbox → socket
//	                   body ↗        ↘ log lines, activities ↗
//
// # Errors
//
// An error of the store is told once, and the connection goes on. A request that cannot be
// understood, or is refused before any work, is answered as Nix does it: the error comes
// twice and is followed by a hang-up, since nobody knows where the next request begins.
// What is left of an upload after an error is read and dropped, up to its end.
//
// # In front of another daemon
//
// If the store belongs to another daemon ([store.ClientConnector]), each client gets a connection
// of its own there, as soon as it has said which version it speaks. Temporary roots and settings
// belong to that connection. It ends with the client's, which stops what the daemon does for the
// client; and when it breaks, the client gets an error and is cut off. A daemon that hangs delays
// no other client. Only features that both have are offered.
//
// The client is trusted if this server and the daemon both trust it. The checks below come before
// anything is sent on, since the daemon may trust this process and sees only requests of it. Settings
// are sent on without those that the client may not set.
//
// # Who is trusted
//
// A connection is trusted or not, as [Options.Trusted] says. Who is not cannot add objects
// without a signature, replace or repair what is there, build input-addressed derivations
// that are not in the store, register realisations, add build logs, make permanent roots, see
// what others' processes need, or set anything but a few harmless settings. Signatures it may
// add, but not very many.
//
// # Limits
//
// A client can make a connection hold no more than [Options.MaxRequest] and some hundred
// kilobytes, however it lies about lengths. It is cut off if it stays silent in the middle
// of a request, or takes nothing of what it asked for, longer than [Options.StallTimeout].
//
// Of large requests there are a few at once, of sweeps through the whole store one. Who is not
// trusted, and keeps others waiting for such a turn, has a minute for what would take none.
//
// Source: src/libstore/daemon.cc in Nix 2.34.
package server
