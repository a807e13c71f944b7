package store

import (
	"context"

	"pix/storepath"
)

// A Sessioner gives out sessions. A session is the same store, but what it keeps from
// being collected ([TempRooter], and whatever it adds) is kept until the session is closed,
// and not longer. A server opens one for each connection.
type Sessioner interface {
	Session(ctx context.Context) (Store, error)
}

// InSession does work in a session of s, which ends with it, or in s itself if s is no
// [Sessioner]: what work adds is there until it has ended.
func InSession(ctx context.Context, s Store, work func(Store) error) error {
	sessions, ok := As[Sessioner](s)
	if !ok {
		return work(s)
	}
	session, err := sessions.Session(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	return work(session)
}

// AddTempRoots keeps paths from being collected as long as s is open; see [TempRooter]. It does nothing in a
// store that collects no garbage.
func AddTempRoots(ctx context.Context, s Store, paths []storepath.Path) error {
	if many, ok := As[ManyTempRooter](s); ok {
		return many.AddTempRoots(ctx, paths)
	}
	r, ok := As[TempRooter](s)
	if !ok {
		return nil
	}
	for _, p := range paths {
		if err := r.AddTempRoot(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
