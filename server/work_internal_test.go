package server

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A workshop is a store whose builds and sweeps last until let is closed or receives.
type workshop struct {
	store.Store
	running, most atomic.Int32
	let           chan struct{}
}

func (s *workshop) Unwrap() store.Store                          { return nil }
func (s *workshop) Session(context.Context) (store.Store, error) { return s, nil }
func (s *workshop) Close() error                                 { return nil }

func (s *workshop) last(ctx context.Context) error {
	s.most.Store(max(s.most.Load(), s.running.Add(1)))
	defer s.running.Add(-1)
	select {
	case <-s.let:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *workshop) BuildPaths(ctx context.Context, _ []derivation.DerivedPath, _ store.BuildMode) error {
	return s.last(ctx)
}
func (s *workshop) VerifyStore(ctx context.Context, _, _ bool) (bool, error) {
	return false, s.last(ctx)
}

// newWorkshop returns a testWorld whose store is a workshop.
func newWorkshop(t *testing.T) (*testWorld, *workshop) {
	w := newTestWorld(t, 0, 0)
	s := &workshop{Store: w.s, let: make(chan struct{})}
	w.s = s
	return w, s
}

// builds returns a request to build n paths.
func builds(n int) *protocol.BuildPathsRequest {
	req := new(protocol.BuildPathsRequest)
	for _, p := range wanted(n).Paths {
		req.Paths = append(req.Paths, derivation.Opaque{Path: p})
	}
	return req
}

// Long builds hold little memory, so the user can query and upload at the same time.
func TestBuildsHoldLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorkshop(t)
		var building []*testClient
		for range 150 {
			c := w.connect(1, false)
			c.begin(c.encode(builds(100)))
			building = append(building, c)
		}
		synctest.Wait()
		if n := s.running.Load(); n != 150 {
			t.Errorf("%d builds are running", n)
		}
		time.Sleep(5 * time.Hour)
		c := w.connect(1, false)
		start := time.Now()
		for _, req := range []protocol.Request{wanted(10), wanted(8000), &protocol.EnsurePathRequest{Path: w.base}} {
			if err := c.ask(req); err != nil || time.Since(start) > 0 {
				t.Errorf("%s: %v after %v", req.Op(), err, time.Since(start))
			}
		}
		close(s.let)
		for _, c := range building {
			if err := c.answer(protocol.BuildPaths); err != nil {
				t.Error(err)
			}
			c.close()
		}
		c.close()
		w.checkReleased()
	})
}

// A user has one operation on the whole store at a time. No other user waits for it.
func TestSweepsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorkshop(t)
		var clients []*testClient
		for _, uid := range []uint32{1, 1, 1, 2, 2} {
			c := w.connect(uid, false)
			c.begin(c.encode(&protocol.VerifyStoreRequest{}))
			clients = append(clients, c)
			synctest.Wait()
		}
		if n := s.running.Load(); n != 2 {
			t.Errorf("%d verify the store at once, want one per user", n)
		}
		time.Sleep(10 * time.Hour)
		go func() {
			for range clients {
				s.let <- struct{}{}
			}
		}()
		for _, c := range clients {
			if err := c.answer(protocol.VerifyStore); err != nil {
				t.Error(err)
			}
			c.close()
		}
		if s.most.Load() != 2 {
			t.Errorf("%d verified the store at once", s.most.Load())
		}
		w.checkReleased()
	})
}

// A long operation keeps its request in memory. So a large request of an untrusted user gets an
// error, and the connection stays usable.
func TestLargeLastingRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorkshop(t)
		close(s.let)
		for _, trusted := range []bool{false, true} {
			c := w.connect(1, trusted)
			err := c.ask(builds(120_000))
			if trusted && err != nil || !trusted && (err == nil || err.Error() != errTooLarge.Error()) {
				t.Errorf("trusted %v: %v", trusted, err)
			}
			if err := c.ask(builds(10)); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			c.close()
		}
		w.checkReleased()
	})
}

// A request that overdraws and would have to wait for long operations gets an error.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorkshop(t)
		var clients []*testClient
		large := builds(87_000) // fills the share of work
		first := w.connect(1, false)
		first.begin(first.encode(large))
		clients = append(clients, first)
		synctest.Wait()
		second := w.connect(1, false) // its request is larger than the share of requests
		if err := second.ask(large); err == nil || err.Error() != errBusy.Error() {
			t.Errorf("%v, want an error", err)
		}
		if err := second.ask(wanted(100)); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		waits := w.connect(1, false) // a small request waits
		waits.begin(waits.encode(builds(10)))
		synctest.Wait()
		if n := s.running.Load(); n != 1 {
			t.Errorf("%d builds are running", n)
		}
		close(s.let)
		for _, c := range append(clients, waits) {
			if err := c.answer(protocol.BuildPaths); err != nil {
				t.Error(err)
			}
			c.close()
		}
		second.close()
		w.checkReleased()
	})
}

// Clients that do not read their log lines hold a limited amount of memory, and no other user
// waits for it.
func TestUnreadLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 0, 0)
		w.opts.Before = func(ctx context.Context, req protocol.Request) error {
			c := conn{}
			for range 100 {
				if req.Op() == protocol.EnsurePath {
					c.warn(ctx, "%s", strings.Repeat("x", 100<<10))
				}
			}
			return nil
		}
		var building []*testClient
		for range 40 {
			c := w.connect(1, false)
			c.begin(c.encode(&protocol.EnsurePathRequest{Path: w.base}))
			building = append(building, c)
		}
		synctest.Wait()
		if held := w.m.requests.shares[owner{uid: 1, known: true}].held; held < 4<<20 || held > 40<<20 {
			t.Errorf("40 connections hold %d bytes of log lines", held)
		}
		other := w.connect(2, false)
		if err := other.ask(wanted(4000)); err != nil {
			t.Error(err)
		}
		for _, c := range append(building, other) {
			c.close()
		}
		w.checkReleased()
	})
}

// The infos in an upload of many objects may be large, but not larger than the share of work.
func TestLargeInfos(t *testing.T) {
	for refs, fits := range map[int]bool{10_000: true, 40_000: false} {
		synctest.Test(t, func(t *testing.T) {
			w := newTestWorld(t, 0, 0)
			c := w.connect(1, true)
			info := &store.PathInfo{
				Path: storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent"), NARHash: nixhash.Sum(nixhash.SHA256, nil), NARSize: 1,
				References: wanted(refs).Paths,
			}
			b, err := c.params.AppendPathInfo(wire.AppendUint64(nil, 1), info)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				c.nc.Write(c.encode(&protocol.AddMultipleToStoreRequest{DontCheckSigs: true}))
				c.nc.Write(wire.AppendUint64(nil, uint64(len(b)+100)))
				c.nc.Write(b)
				c.nc.Write(make([]byte, 100))
				c.nc.Write(make([]byte, 8))
			}()
			err = c.answer(protocol.AddMultipleToStore)
			if err == nil || strings.Contains(err.Error(), errBusy.Error()) == fits {
				t.Errorf("%d references: %v", refs, err)
			}
			c.close()
			w.checkReleased()
		})
	}
}
