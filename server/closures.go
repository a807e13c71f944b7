package server

import (
	"context"
	"errors"

	"pix/store"
)

var _ store.ClosureBudget = (*conn)(nil)

// maxAsking is how many infos a user's requests may ask substituters for at once. An info is counted only
// when it is there. A binary cache is asked for 32 at once, whoever asks.
const maxAsking = 32

// errClosures says that the closures of a user's requests take more than the user's share, or that those
// of all users take too much.
var errClosures = errors.New("the closures of your requests take more memory than the daemon has for them; try again later, or let it use more")

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
