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

// claims are the paths that calls are fetching, so that none is fetched twice. Nobody waits for a
// claim of another while he has one himself, or two could wait for each other. The zero value has
// none.
type claims struct {
	mu sync.Mutex
	of map[storepath.Path]*claim
}

// A claim is that of one call, on some paths.
type claim struct {
	ended chan struct{} // closed when it ends
	moved atomic.Int64  // when something of its archives came last, in nanoseconds since 1970
}

const (
	// stallTime is how long a claim is respected while nothing comes: its substituter may have
	// stalled, or the client who is told about it, and others should not wait for either.
	stallTime = 10 * time.Second
	// lookAgain is how long nobody looks whether a path is there while another fetches it, with all
	// that he wants besides.
	lookAgain = 100 * time.Millisecond
)

// move notes that something has come.
func (c *claim) move() { c.moved.Store(time.Now().UnixNano()) }

func (c *claim) isStalled() bool { return time.Since(time.Unix(0, c.moved.Load())) > stallTime }

// take claims those of the objects that nobody has claimed, and that refer to none which another
// has: they are in such an order that each comes after those it refers to. If all are
// others', it returns what to wait for.
func (c *claims) take(objects []*store.PathInfo) (mine []*store.PathInfo, own *claim, others <-chan struct{}) {
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
	own.move()
	for _, info := range mine {
		c.of[info.Path] = own
	}
	return mine, own, others
}

// give ends a claim on objects.
func (c *claims) give(mine []*store.PathInfo, own *claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(own.ended)
	for _, info := range mine {
		if c.of[info.Path] == own { // else it had stalled, and another goes on
			delete(c.of, info.Path)
		}
	}
}

// await waits until a claim of others ends, or has perhaps come to something.
func await(ctx context.Context, others <-chan struct{}) error {
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-others:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
