package substitute

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pix/store"
	"pix/storepath"
)

// claims are the paths that calls are fetching, so that none is fetched twice. A call does not wait for a
// claim while it holds one itself: two calls could wait for each other. The zero value is ready to use.
type claims struct {
	mu sync.Mutex
	of map[storepath.Path]*claim
}

// A claim is held by one call, on some paths.
type claim struct {
	ended      chan struct{} // closed when it ends
	lastActive atomic.Int64  // when the last bytes of its archives arrived, in nanoseconds since 1970
}

const (
	// stallTime is how long a claim without progress is respected. Its substituter may have
	// stalled, or the client that receives its events; other calls should not wait for either.
	stallTime = 10 * time.Second
	// recheckInterval is how often a call checks whether a path that another call fetches has
	// become valid: the other call may go on with other paths.
	recheckInterval = 100 * time.Millisecond
)

// touch records that bytes have arrived.
func (c *claim) touch() { c.lastActive.Store(time.Now().UnixNano()) }

func (c *claim) isStalled() bool { return time.Since(time.Unix(0, c.lastActive.Load())) > stallTime }

// acquire claims the objects that no other call has claimed and that do not refer to a claimed one.
// Each object must come after its references. If all objects are claimed, others is closed when
// the claim on the first one ends.
func (c *claims) acquire(objects []*store.PathInfo) (mine []*store.PathInfo, own *claim, others <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := make(map[storepath.Path]bool)
	for _, info := range objects {
		other := c.of[info.Path]
		claimed := other != nil && !other.isStalled()
		if claimed && others == nil {
			others = other.ended
		}
		if claimed || slices.ContainsFunc(info.References, func(p storepath.Path) bool { return waiting[p] }) {
			waiting[info.Path] = true
			continue
		}
		mine = append(mine, info)
	}
	if c.of == nil {
		c.of = make(map[storepath.Path]*claim)
	}
	own = &claim{ended: make(chan struct{})}
	own.touch()
	for _, info := range mine {
		c.of[info.Path] = own
	}
	return mine, own, others
}

// release ends a claim on objects.
func (c *claims) release(mine []*store.PathInfo, own *claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(own.ended)
	for _, info := range mine {
		if c.of[info.Path] == own { // else it had stalled, and another call took over
			delete(c.of, info.Path)
		}
	}
}

// await waits until a claim of another call ends, or until it is time to check the paths again.
func await(ctx context.Context, others <-chan struct{}) error {
	timer := time.NewTimer(recheckInterval)
	defer timer.Stop()
	select {
	case <-others:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
