package localstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"pix/store"
)

// An autoGC collects garbage before an object is added and while derivations are built, if the disk is nearly full.
//
// Source: LocalStore::autoGC in src/libstore/gc.cc.
type autoGC struct {
	sem     chan struct{} // of capacity 1: a mutex whose Lock a context can interrupt
	free    func(dir string) (uint64, error)
	checked time.Time // when the free space was last checked
	left    uint64    // the free space after the last collection, in bytes
}

func newAutoGC() autoGC {
	return autoGC{sem: make(chan struct{}, 1), free: freeSpace, left: math.MaxUint64}
}

// CollectIfFull collects garbage if less than [Options.MinFree] is free. A call during a collection waits for the
// collection. If the collection fails, CollectIfFull logs a warning and returns nil, because the disk may still have
// enough space. The caller must not hold a lock that a collector waits for.
func (s *Store) CollectIfFull(ctx context.Context) error {
	if s.opts.MinFree == 0 {
		return nil
	}
	g := &s.auto
	select {
	case g.sem <- struct{}{}:
		defer func() { <-g.sem }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	wanted, err := s.wantedSpace()
	if err == nil && wanted > 0 {
		logf(ctx, "running auto-GC to free %s", describeWanted(wanted))
		_, err = s.CollectGarbage(ctx, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: wanted})
		g.checked = time.Now()
		// The next collection could not delete the remaining garbage either.
		ended := err == nil || errors.As(err, new(*IncompleteError))
		if free, freeErr := g.free(s.storeDir); ended && freeErr == nil {
			g.left = free
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		logf(ctx, "warning: collecting garbage because the disk is nearly full: %v", err)
	}
	return nil
}

// wantedSpace returns how many bytes should be freed now.
func (s *Store) wantedSpace() (uint64, error) {
	g := &s.auto
	if !g.checked.IsZero() && time.Since(g.checked) < s.opts.MinFreeInterval {
		return 0, nil
	}
	free, err := g.free(s.storeDir)
	if err != nil {
		return 0, err
	}
	g.checked = time.Now()
	maxFree := s.opts.MaxFree
	if maxFree == 0 {
		maxFree = math.MaxUint64
	}
	if free >= s.opts.MinFree || free >= maxFree {
		return 0, nil
	}
	// If the free space has hardly shrunk since the last collection, another collection frees nothing.
	if float64(free) > float64(g.left)*0.97 {
		return 0, nil
	}
	if maxFree >= math.MaxInt64 { // Nix's value for no limit, or the maximum of uint64
		return math.MaxUint64, nil
	}
	return maxFree - free, nil
}

// describeWanted returns the text for the log line about a collection.
func describeWanted(wanted uint64) string {
	if wanted == math.MaxUint64 {
		return "all garbage"
	}
	return fmt.Sprintf("%d bytes", wanted)
}
