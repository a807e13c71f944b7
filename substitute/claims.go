package substitute

import (
	"context"
	"slices"
	"sync"
	"time"

	"pix/store"
	"pix/storepath"
)

// claims are the paths that calls are fetching, so that none is fetched twice. Nobody waits for a
// claim of another while he has one himself, or two could wait for each other. The zero value has
// none.
type claims struct {
	mu sync.Mutex
	of map[storepath.Path]chan struct{} // closed when the claim ends
}

// take claims those of the objects that nobody has claimed, and that refer to none which another
// has: they are in such an order that each comes after those it refers to. If all are
// others', it returns what to wait for.
func (c *claims) take(objects []*store.PathInfo) (mine []*store.PathInfo, others <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[storepath.Path]chan struct{})
	}
	waiting := make(map[storepath.Path]bool)
	for _, info := range objects {
		claimed := c.of[info.Path]
		if claimed != nil && others == nil {
			others = claimed
		}
		if claimed != nil || slices.ContainsFunc(info.References, func(p storepath.Path) bool { return waiting[p] }) {
			waiting[info.Path] = true
			continue
		}
		mine = append(mine, info)
	}
	for _, info := range mine {
		c.of[info.Path] = make(chan struct{})
	}
	return mine, others
}

// give ends claims.
func (c *claims) give(mine []*store.PathInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, info := range mine {
		close(c.of[info.Path])
		delete(c.of, info.Path)
	}
}

// claimPatience is how long nobody looks whether a path is there while another fetches it, with all
// that he wants besides.
const claimPatience = 100 * time.Millisecond

// await waits until a claim of others ends, or has perhaps come to something.
func await(ctx context.Context, others <-chan struct{}) error {
	timer := time.NewTimer(claimPatience)
	defer timer.Stop()
	select {
	case <-others:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
