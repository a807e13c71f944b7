package localstore

import (
	"runtime"
	"sync"

	"pix/internal/descriptors"
	"pix/localstore/internal/pathlock"
)

// lockBudget returns the budget of locks, which all stores of the process share. The rest of the descriptors is for
// objects, connections and the database.
var lockBudget = sync.OnceValue(func() *pathlock.Budget { return pathlock.NewBudget(descriptors.Limit() / 4) })

// workers returns how many objects of a batch are restored or moved at once. Each needs some descriptors.
func workers() int { return max(2, min(runtime.GOMAXPROCS(0), descriptors.Limit()/64)) }
