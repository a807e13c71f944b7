package cacheserver

import (
	"context"
	"errors"
	"sync"
	"time"

	"pix/store"
	"pix/storepath"
)

// keepUploads is the time for which an uploaded path is protected from collectors, so that the paths that refer to it can be
// uploaded, too. Some paths are protected for twice as long.
const keepUploads = 10 * time.Minute

// sessions are sessions of a store. A path that is added in one is a temporary root until the session is closed. A new session
// takes the place of the current one after some time, because the roots of a server that runs for months would keep every
// path that was ever uploaded.
type sessions struct {
	store store.Store

	mu      sync.Mutex
	current *session
	open    map[*session]bool
}

// A session is a session in which paths are added.
type session struct {
	store   store.Store
	timer   *time.Timer // retires the session
	old     bool        // no new calls use it
	users   int
	retired bool // it is closed after its last call
}

func newSessions(s store.Store) *sessions { return &sessions{store: s, open: make(map[*session]bool)} }

// acquire returns a session, which the caller uses until it calls end. A store without sessions is its own session.
func (all *sessions) acquire(ctx context.Context) (s store.Store, end func(), err error) {
	opener, ok := store.As[store.Sessioner](all.store)
	if !ok {
		return all.store, func() {}, nil
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.current == nil || all.current.old {
		opened, err := opener.Session(ctx)
		if err != nil {
			return nil, nil, err
		}
		all.start(&session{store: opened})
	}
	current := all.current
	current.users++
	return current.store, func() { all.release(current) }, nil
}

// protect makes a path of the store a temporary root of a session. Without temporary roots in the store it does nothing.
func (all *sessions) protect(ctx context.Context, path storepath.Path) error {
	s, end, err := all.acquire(ctx)
	if err != nil {
		return err
	}
	defer end()
	temp, ok := store.As[store.TempRooter](s)
	if !ok {
		return nil
	}
	if err := temp.AddTempRoot(ctx, path); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// start makes a session the current one. The caller has locked all.
func (all *sessions) start(s *session) {
	all.current, all.open[s] = s, true
	s.timer = time.AfterFunc(keepUploads, func() {
		all.mu.Lock()
		defer all.mu.Unlock()
		if !s.old {
			s.old = true
			s.timer.Reset(keepUploads)
			return
		}
		s.retired = true
		all.closeUnused(s)
	})
}

func (all *sessions) release(s *session) {
	all.mu.Lock()
	defer all.mu.Unlock()
	s.users--
	all.closeUnused(s)
}

// closeUnused closes a session if it is retired and no call uses it. The caller has locked all.
func (all *sessions) closeUnused(s *session) {
	if s.retired && s.users == 0 && all.open[s] {
		delete(all.open, s)
		s.store.Close() // its temporary roots end in any case
	}
}

// close closes all sessions. No call may use one.
func (all *sessions) close() {
	all.mu.Lock()
	defer all.mu.Unlock()
	for s := range all.open {
		s.timer.Stop()
		s.old, s.retired = true, true
		all.closeUnused(s)
	}
}
