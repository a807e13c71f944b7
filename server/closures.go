package server

import (
	"context"
	"errors"

	"pix/store"
)

var _ store.ClosureBudget = (*conn)(nil)

// maxAsking is how many infos all requests of a user may ask substituters for at once. An info may be several
// megabytes large, and counts only when it is there. By default a binary cache gets as many requests at once.
const maxAsking = 32

// errClosures says that the closures of a user's requests take more than the user's share, or that those
// of all users take too much.
var errClosures = errors.New("the closures of your requests take more memory than the daemon has for them; try again later, or give the daemon a larger memory budget")

// AcquireClosure implements [store.ClosureBudget]. It does not wait: connections that each hold a part of
// a closure could wait for each other.
func (c *conn) AcquireClosure(n int64) error {
	if !c.mem.closures.tryAcquire(n) {
		return errClosures
	}
	return nil
}

// AskSource implements [store.ClosureBudget].
func (c *conn) AskSource(ctx context.Context, ask func() error) error {
	if err := c.mem.asking.acquire(ctx, 1); err != nil {
		return err
	}
	defer c.mem.asking.release(1)
	return ask()
}
