package realise_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/derivation"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// A fullStore is a store on a disk that is always nearly full.
type fullStore struct {
	*localstore.Store
	collections *atomic.Int32
	failure     error
}

func (s *fullStore) CollectIfFull(ctx context.Context) error {
	if s.failure != nil {
		return s.failure
	}
	s.collections.Add(1)
	_, err := s.CollectGarbage(ctx, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: 1 << 62})
	return err
}

func (s *fullStore) Session(ctx context.Context) (store.Store, error) {
	session, err := s.Store.Session(ctx)
	if err != nil {
		return nil, err
	}
	return &fullStore{session.(*localstore.Store), s.collections, s.failure}, nil
}

// Collections before each build, and all the time while builds run, delete garbage, and nothing that a build needs or has
// made. Each client has its own session, whose temporary roots are the only protection.
func TestCollectionsWhileBuilding(t *testing.T) {
	w := newWorld(t)
	session, err := w.local.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	garbage, err := store.AddText(t.Context(), session, "garbage", "garbage", nil)
	if err != nil {
		t.Fatal(err)
	}
	session.Close()
	const count = 8
	var drvs []storepath.Path
	for i := range count {
		drvs = append(drvs, w.derive(fmt.Sprint("d", i), drvs[max(0, i-2):]...))
	}
	w.build = func(ctx context.Context, name string) *store.BuildResult {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
		return nil
	}
	// The store that has added the derivations protects them, and the session of a client its outputs.
	full := &fullStore{w.local, new(atomic.Int32), nil}
	s := w.storeOver(full)
	ctx, cancel := context.WithCancel(t.Context())
	var collecting sync.WaitGroup
	collecting.Go(func() {
		for ctx.Err() == nil {
			_ = full.CollectIfFull(ctx)
			time.Sleep(5 * time.Millisecond)
		}
	})
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			session, err := s.Session(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer session.Close()
			if err := store.BuildPaths(t.Context(), session, []derivation.DerivedPath{out(drvs[count-1])}, store.BuildNormal); err != nil {
				t.Error(err)
			}
			outputs, err := store.OutputMap(t.Context(), session, drvs[count-1])
			if err != nil {
				t.Error(err)
			}
			if err := full.CollectIfFull(t.Context()); err != nil {
				t.Error(err)
			}
			if valid, err := session.IsValidPath(t.Context(), outputs["out"]); err != nil || !valid {
				t.Errorf("the output was deleted while its client is there: %v", err)
			}
		})
	}
	clients.Wait()
	cancel()
	collecting.Wait()
	if len(w.built) < count || full.collections.Load() < count {
		t.Errorf("%d builds, %d collections", len(w.built), full.collections.Load())
	}
	if valid, err := w.local.IsValidPath(t.Context(), garbage); err != nil || valid {
		t.Errorf("the garbage was not deleted: %v", err)
	}
}

// A store that cannot collect ends the call, and a repair does not collect.
func TestCollectionFails(t *testing.T) {
	w := newWorld(t)
	full := &fullStore{w.local, new(atomic.Int32), errors.New("no collection")}
	s := w.storeOver(full)
	drv := w.derive("x")
	if err := s.BuildPaths(t.Context(), []derivation.DerivedPath{out(drv)}, store.BuildNormal); !errors.Is(err, full.failure) {
		t.Error(err)
	}
	if err := s.BuildPaths(t.Context(), []derivation.DerivedPath{out(drv)}, store.BuildRepair); err != nil {
		t.Errorf("repair: %v", err)
	}
}
