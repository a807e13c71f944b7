package cacheserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pix/store"
	"pix/storepath"
)

// OpenUpstream is [NewUpstream] for a store that cannot be opened now, for example because it is down. open is called when a request
// needs the store, until it succeeds. Until then, the Upstream serves what it has kept. dir is the store directory.
func OpenUpstream(dir storepath.Dir, open func(context.Context) (store.Store, error), opts *UpstreamOptions) (*Upstream, error) {
	return newUpstream(&upstreamSource{dir: dir, open: open}, opts)
}

// An upstreamSource is the store of an Upstream.
type upstreamSource struct {
	dir  storepath.Dir
	open func(context.Context) (store.Store, error)

	mu     sync.Mutex // held while the store is opened
	store  store.Store
	failed time.Time
	err    error // of the last attempt
}

const (
	reopenAfter = 10 * time.Second // between attempts to open the store
	maxOpening  = 30 * time.Second
)

// get returns the store. It opens the store if necessary. The requests of other clients wait for the result, so a client that leaves
// does not end the attempt.
func (s *upstreamSource) get(ctx context.Context) (store.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		return s.store, nil
	}
	if s.err != nil && time.Since(s.failed) < reopenAfter {
		return nil, s.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxOpening)
	defer cancel()
	opened, err := s.open(ctx)
	if err == nil {
		if err = s.check(opened); err != nil {
			opened.Close()
		}
	}
	if err != nil {
		s.err, s.failed = &UpstreamError{err}, time.Now()
		return nil, s.err
	}
	s.store, s.err = opened, nil
	return opened, nil
}

// check returns an error if a store cannot be the upstream store.
func (s *upstreamSource) check(opened store.Store) error {
	if dir := opened.Dir(); dir != s.dir {
		return fmt.Errorf("the store directory of the upstream cache is '%s', and not '%s'", dir, s.dir)
	}
	return checkStores([]store.Store{opened})
}

func (s *upstreamSource) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store == nil {
		return nil
	}
	return s.store.Close()
}
