package store

import "context"

// A Sessioner gives out sessions. A session is the same store, but what it keeps from
// being collected ([TempRooter], and whatever it adds) is kept until the session is closed,
// and not longer. A server opens one for each connection.
type Sessioner interface {
	Session(ctx context.Context) (Store, error)
}
