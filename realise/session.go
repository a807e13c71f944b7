package realise

import (
	"context"
	"sync"

	"pix/store"
)

// A buildSession is the session in which the executor of a call builds. The temporary roots of its builds last until all
// claims on them are over, which may be after the session of the call has ended.
type buildSession struct {
	store.Store
	close func() error

	mu    sync.Mutex
	users int
}

// openBuildSession opens a session with one user.
func openBuildSession(ctx context.Context, s store.Store) (*buildSession, error) {
	b := &buildSession{Store: s, close: func() error { return nil }, users: 1}
	if sessions, ok := store.As[store.Sessioner](s); ok {
		own, err := sessions.Session(ctx)
		if err != nil {
			return nil, err
		}
		b.Store, b.close = own, own.Close
	}
	return b, nil
}

// retain adds a user.
func (b *buildSession) retain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users++
}

// release removes a user. The last one closes the session.
func (b *buildSession) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users--; b.users > 0 {
		return nil
	}
	return b.close()
}
