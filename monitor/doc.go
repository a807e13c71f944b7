// Package monitor shows what clients say to a Nix daemon. It is a proxy on a Unix socket that
// passes on every byte as it is, and reports each connection and each operation:
//
//	m := &monitor.Monitor{
//		Dial:   monitor.DialUnix("/nix/var/nix/daemon-socket/socket"),
//		Handle: func(e *monitor.Event) { fmt.Println(e) },
//	}
//	err := m.Serve(ctx, listener)
//
// # Transparency
//
// Two goroutines copy the bytes of a connection, one in each direction. Before they write a
// piece, they append a copy to a bounded queue. A third goroutine
// decodes the copies with package protocol. The copying goroutines never wait for it: if it
// cannot follow, or does not know the version, a feature or an operation, the connection goes on,
// and the monitor shows sizes and first bytes only ([Raw]).
//
// The contents of uploads and downloads do not enter the queue. The copying goroutines only look
// for their ends.
//
// # Trust
//
// A daemon judges its client by the user at the other end of the socket, which is the monitor.
// So [DialUnix] refuses clients of other users. If this process belongs to root, it connects to the
// daemon with the user and the groups of the client: in a child process that executes this
// program again. Such a program must call [Main] first.
//
// # Recordings
//
// A [Recorder] writes the conversations as a trace that daemontest.Replay reads, with the events
// in comments, which [ReadRecording] reads.
package monitor
