package localstore

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"pix/localstore/internal/pathlock"
)

// descriptors returns how many files this process may open, at most 2^20. The limit is RLIMIT_NOFILE, which
// the Go runtime has raised as far as it may.
var descriptors = sync.OnceValue(func() int {
	const most = 1 << 20
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return most
	}
	return int(min(uint64(limit.Cur), most))
})

// lockBudget returns the budget of locks, which all stores of the process share. The rest of the descriptors is for
// objects, connections and the database.
var lockBudget = sync.OnceValue(func() *pathlock.Budget { return pathlock.NewBudget(descriptors() / 4) })

// workers returns how many objects of a batch are restored or moved at once. Each needs some descriptors.
func workers() int { return max(2, min(runtime.GOMAXPROCS(0), descriptors()/64)) }
