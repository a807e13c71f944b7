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
// A request has at most [Options.MaxRequest] bytes, and its memory is allocated as bytes arrive:
// an announced length costs nothing. A client that is silent within a request, or does not read
// its reply, is disconnected after [Options.StallTimeout].
//
// All connections of a [Server] share [Server.MemoryBudget]. One half is for requests and
// replies, the other for operations that may last for hours: uploads, archives, builds,
// substitution. Small requests and replies are not counted. A connection acquires memory
// before it uses it, and waits if too little is left. No user holds more than a quarter of a half,
// and untrusted users together hold at most three quarters. A client that stalls for ten seconds
// while others wait for the memory of its connection is disconnected.
//
// Untrusted users sweep through the whole store (verify, optimise, collect) one at a time.
//
// Source: src/libstore/daemon.cc in Nix 2.34.
package server
