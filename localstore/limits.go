package localstore

import (
	"runtime"
	"sync"

	"pix/derivation"
	"pix/internal/descriptors"
	"pix/localstore/internal/pathlock"
	"pix/store"
)

// ClosureLimits implements [store.Limiter]. It returns the limits of a trusted store, because path infos were checked
// when they were added.
func (s *Store) ClosureLimits() (store.Limits, store.Store) { return derivation.OwnLimits(), s }

// ClosureLimits implements [store.Limiter].
func (d *drvStore) ClosureLimits() (store.Limits, store.Store) { return derivation.OwnLimits(), d }

// lockBudget returns the budget of path locks, which all stores of the process share. Objects, connections and the
// database use the other file descriptors.
var lockBudget = sync.OnceValue(func() *pathlock.Budget { return pathlock.NewBudget(descriptors.Limit() / 4) })

// workers returns how many objects of a batch are restored or moved in parallel. Each needs several file descriptors.
func workers() int { return max(2, min(runtime.GOMAXPROCS(0), descriptors.Limit()/64)) }
