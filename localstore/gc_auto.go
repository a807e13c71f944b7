package localstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"pix/store"
)

// An autoGC collects garbage before something is added, when the disk is nearly full. See
// LocalStore::autoGC in Nix's src/libstore/gc.cc.
type autoGC struct {
	turn   chan struct{} // holds one value while somebody looks or collects
	free   func(dir string) (uint64, error)
	looked time.Time // when it was last looked how much is free; zero before that
	left   uint64    // how much was free after the last collection
}

func newAutoGC() autoGC {
	return autoGC{turn: make(chan struct{}, 1), free: freeSpace, left: math.MaxUint64}
}

// collectIfFull collects garbage if less than [Options.MinFree] is free. Calls that come during a collection wait for
// it. A collection that fails is reported and is no error, because the disk may still have enough room. The caller
// must not hold a lock that a collector waits for.
func (s *Store) collectIfFull(ctx context.Context) error {
	if s.opts.MinFree == 0 {
		return nil
	}
	g := &s.auto
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	wanted, err := s.wanted()
	if err == nil && wanted > 0 {
		say(ctx, "running auto-GC to free %s", limitOf(wanted))
		_, err = s.CollectGarbage(ctx, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: wanted})
		g.looked = time.Now()
		// What could not be deleted now cannot be deleted by the next collection either.
		ended := err == nil || errors.As(err, new(*IncompleteError))
		if free, freeErr := g.free(s.storeDir); ended && freeErr == nil {
			g.left = free
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		say(ctx, "warning: collecting garbage because the disk is nearly full: %v", err)
	}
	return nil
}

// wanted returns how many bytes should be freed now.
func (s *Store) wanted() (uint64, error) {
	g := &s.auto
	if !g.looked.IsZero() && time.Since(g.looked) < s.opts.MinFreeInterval {
		return 0, nil
	}
	free, err := g.free(s.storeDir)
	if err != nil {
		return 0, err
	}
	g.looked = time.Now()
	most := s.opts.MaxFree
	if most == 0 {
		most = math.MaxUint64
	}
	if free >= s.opts.MinFree || free >= most {
		return 0, nil
	}
	// If the last collection left not much more, another one frees nothing.
	if float64(free) > float64(g.left)*0.97 {
		return 0, nil
	}
	if most >= math.MaxInt64 { // Nix's infinity, and ours
		return math.MaxUint64, nil
	}
	return most - free, nil
}

// limitOf says how much a collection is to free.
func limitOf(wanted uint64) string {
	if wanted == math.MaxUint64 {
		return "all garbage"
	}
	return fmt.Sprintf("%d bytes", wanted)
}
