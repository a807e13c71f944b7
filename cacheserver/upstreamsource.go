package cacheserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"pix/binarycache"
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
	failed time.Time // of the last attempt
	err    error     // while the store cannot be opened or reached
}

const (
	retryAfter = 10 * time.Second // between attempts to open or reach the store
	maxOpening = 30 * time.Second

	// maxQuery is the time in which the store must answer a query for a small file. A client waits, and there may be other stores. It
	// is the default timeout of a connection.
	maxQuery = 15 * time.Second
)

// errSilent is the error of a query that the store has not answered in time.
var errSilent = fmt.Errorf("it did not answer within %v", maxQuery)

// query calls the store, and returns the error for clients. call must not use the context after it has returned.
func (s *upstreamSource) query(ctx context.Context, call func(context.Context, store.Store) error) error {
	src, err := s.get(ctx)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, maxQuery)
	defer cancel()
	err = call(limited, src)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = errSilent
	}
	return s.answered(ctx, err)
}

// get returns the store. It opens the store if necessary. The requests of other clients wait for the result, so a client that leaves
// does not end the attempt. A store that cannot be reached is returned to one request for each attempt; the others get the error of
// the last one, because each attempt takes the timeout of a connection.
func (s *upstreamSource) get(ctx context.Context) (store.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil && time.Since(s.failed) < retryAfter {
		return nil, s.err
	}
	if s.store != nil {
		s.failed = time.Now()
		return s.store, nil
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

// answered returns the error of a call of the store for clients. It records whether the store can be reached, unless ctx has ended
// the call.
func (s *upstreamSource) answered(ctx context.Context, err error) error {
	reported := upstreamError(err)
	if ctx.Err() != nil {
		return reported
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil || errors.Is(err, store.ErrNotFound):
		s.err = nil
	case isUnreachable(err):
		s.err, s.failed = reported, time.Now()
	}
	return reported
}

// isUnreachable reports whether an error means that no connection was established, or no query was answered, within the timeout.
// The host is down, or a firewall drops its packets. A refused connection is none: it takes no time, and may be accepted a moment
// later.
func isUnreachable(err error) bool {
	if errors.Is(err, errSilent) {
		return true
	}
	if request, ok := errors.AsType[*binarycache.RequestError](err); ok {
		return request.NoConnection()
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" && op.Timeout()
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
