package realise

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"pix/store"
)

// A buildSession is the session in which the executor of a call builds. The temporary roots of its builds last until all
// claims on them are over, which may be after the session of the call has ended.
type buildSession struct {
	store.Store
	close func() error

	removals sync.WaitGroup
	places   chan struct{} // of removals that run

	mu     sync.Mutex
	users  int
	failed error // the first error of a removal
}

// maxRemovals is how many removals of a session run at once. More would only delay the builds.
const maxRemovals = 4

// openBuildSession opens a session with one user.
func openBuildSession(ctx context.Context, s store.Store) (*buildSession, error) {
	b := &buildSession{Store: s, close: func() error { return nil }, users: 1, places: make(chan struct{}, maxRemovals)}
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

// later removes the directories of a build, on a goroutine of the session if it has a place. The next build need not wait for
// that: see [builder.Request].Later. The caller is a user of the session.
func (b *buildSession) later(remove func() error) {
	select {
	case b.places <- struct{}{}:
		b.removals.Go(func() {
			defer func() { <-b.places }()
			b.noteRemoval(remove())
		})
	default:
		b.noteRemoval(remove())
	}
}

func (b *buildSession) noteRemoval(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = cmp.Or(b.failed, err)
}

// release removes a user. The last one waits for the removals, whose paths the session protects from collectors, and closes the
// session.
func (b *buildSession) release() error {
	b.mu.Lock()
	b.users--
	last := b.users == 0
	b.mu.Unlock()
	if !last {
		return nil
	}
	b.removals.Wait()
	return errors.Join(b.failed, b.close())
}
