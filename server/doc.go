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
// The client is trusted if this server and the daemon both trust it. The server makes the checks below
// before it forwards a request: the daemon sees only requests of this process, and may trust it. The server
// does not forward settings that the client may not set.
//
// # Trust
//
// A connection is trusted if [Access] or [Options.Trusted] says so. An untrusted client cannot
//
//   - add objects without the signature of a trusted key, unless their path follows from their
//     contents, nor claim that they were built here,
//   - replace or repair valid paths, by any operation,
//   - build input-addressed derivations that are not in the store,
//   - register realisations, add build logs, or create permanent roots,
//   - see the names of the runtime roots of other users, or ignore them in a collection,
//   - change settings, except timeouts and which of [Options.Substituters] to use.
//
// The server removes such options from a request, or refuses the request, before it reaches the store.
//
// As in Nix, every client may add signatures. A path keeps every signature of a trusted key. It has at most
// 64 others from untrusted users. A new one replaces an old one, so that forged signatures cannot keep out
// a valid one.
//
// # Limits
//
// [Server.MaxClients] limits the number of connections, and [Server.MaxClientsPerUser] the number for one
// untrusted user. An eighth of the connections is reserved for trusted users.
//
// [Server.MemoryBudget] bounds the memory of requests, of the work on them, and of replies. One half is for
// requests and replies: received bytes and their decoded form, the reply, queued log lines. The other half is for operations
// that may last for hours: uploads, archives, builds, substitution.
// A connection acquires memory before it uses it, and waits if too little is left. An announced length
// costs nothing. Requests below 8 KiB acquire nothing.
//
// In each half a user has a share of a quarter, and a quarter is reserved for trusted users. So a user who
// holds a whole share makes only requests of the same user wait. Waiting connections of a user are served in
// their order, and the users in turn. A client is never disconnected because it waits. But a client is
// disconnected if others wait for the memory of its connection and it is more than ten seconds slower
// than 256 KiB a second.
//
// A request that exceeds its share is still read, up to [Options.MaxRequest]: one of all untrusted users and
// one of all trusted users at a time. An untrusted user's request for a long operation must fit into the
// share: with the default budget it may have about 5 MB.
//
// Closures that the store follows, to substitute paths or to find missing ones, have a budget of twice
// MemoryBudget (see [store.ClosureBudget]). A user may hold three quarters of MemoryBudget, and a quarter of the
// whole is reserved for trusted users. A request whose closure does not fit gets an error, because requests
// that each hold a part of a closure could wait for each other. A user has at most 32 concurrent queries of
// substituters.
//
// An untrusted user has at most one operation on the whole store (verify, optimise, collect) at a time. Other
// users do not wait for it. An untrusted user may have 524,288 temporary roots. A store keeps them in
// memory, about 150 bytes each. The settings of a connection have at most 64 KiB.
//
// So the process takes, in addition to the store itself, at most
//
//   - three times MemoryBudget,
//   - twice MaxRequest times 8, for the two requests that may exceed their shares,
//   - up to about 200 KB for each connection,
//
// and, as every Go program, up to as much again until garbage is collected. With the default options 64
// clients that stop within large requests, 200 that do not read large replies, or 2,000 idle ones, all of
// one user, take less than 150 MB. 16 requests for endless closures take less than 300 MB.
//
// [Options] has the timeouts: for the handshake, for a client that is silent within a request or does not
// read its reply, and for silence between requests.
//
// Source: src/libstore/daemon.cc in Nix 2.34.
package server
