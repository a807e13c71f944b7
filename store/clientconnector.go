package store

import "context"

// A ClientConnector is the store of another daemon. A server in front of it connects each of its
// clients by itself, so that the clients share neither settings nor temporary roots, none waits for
// another, and a client that hangs up ends what the daemon does for it.
type ClientConnector interface {
	// ConnectClient returns the store on a connection of its own. Closing the store closes the
	// connection.
	ConnectClient(ctx context.Context) (Store, error)
}
