// Package server serves any store.Store over the worker protocol, as nix-daemon serves
// Nix's. Every client of a Nix daemon with protocol 1.18 or later can use it: package daemon,
// a stock nix, a remote builder.
//
//	l, err := net.Listen("unix", "/run/pix/socket")
//	…
//	err = server.Accept(ctx, l, func(ctx context.Context, nc net.Conn) {
//		server.Serve(ctx, nc, s, &server.Options{Trusted: true})
//	})
//
// [Accept] accepts connections. [Serve] serves one of any kind: a socket, the standard
// streams of a process behind ssh, a pipe in memory. A [Server] also counts its clients,
// shares one memory budget among them, and shuts down.
//
// # What a store must have
//
// Very little: see package store. Each operation calls one capability of the store. If the
// store does not have it, the client gets the answer of a Nix store without it: no
// substitutes, nothing to optimise, or an error that names the missing operation.
//
// The client gets the events that the store reports through the handler in the context
// ([activity.WithHandler]), and the text of its errors unchanged.
//
// If the store is a [store.ClientConnector], such as the pool of package daemon, each client
// gets a connection of its own to the daemon behind it, with settings and temporary roots of
// its own. The client then has the trust that both this server and that daemon give it.
//
// # A connection
//
// One goroutine reads requests, calls the store and writes the replies, one request after the
// other. While an operation lasts, a second goroutine reads ahead into a small buffer, so that
// the server notices a client that hangs up and cancels the context of the operation. A third
// writes log lines, so that an upload does not wait for a client that reads nothing before it
// has sent everything.
//
//	socket → inbox → request → store → reply → outbox → socket
//	                   body ↗        ↘ log lines, activities ↗
//
// # Errors
//
// The client gets an error of the store once, and the connection stays usable. If a request is
// malformed, or refused before any work, the server does what Nix does: it sends the error twice
// and closes the connection, because it does not know where the next request begins. The rest
// of an upload after an error is read and dropped.
//
// A panic of the store closes the connection of one client, which gets an error without details.
// The error of [Serve] is a [*PanicError]. The server keeps serving the others.
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
// # Trust
//
// A connection is trusted or not, as [Options.Trusted] says. An untrusted client cannot add
// objects without a signature, replace or repair valid paths, build input-addressed derivations
// that are not in the store, register realisations, add build logs, make permanent roots, see
// the runtime roots of other users, or set anything except a few harmless settings. It can add
// signatures, but only a limited number of them.
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
