package server

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"

	"pix/protocol"
	"pix/store"
)

// What a request may have without asking anybody, and what it may have as a large one.
const (
	smallRequest = 64 << 10
	largeRequest = 2 << 20
)

// How many connections at once may have a request that large, and work that needs the
// memory or the disk as a whole. A request that was read takes up to six times its bytes of
// memory, so that all of them together take some 300 MB, if all lie at once and really send
// what they announce.
const (
	largeRequests = 8
	hugeRequests  = 1
	wholeAnswers  = 4
	largeBuilds   = 4
	sweeps        = 1
)

// shared is what the connections of a [Server] have in common, so that many clients need
// not much more memory than one. The zero value is that of a connection alone.
type shared struct {
	large, huge *semaphore.Weighted // requests
	whole       *semaphore.Weighted // answers about the whole store
	building    *semaphore.Weighted // builds that large requests ask for
	sweeping    *semaphore.Weighted // work on the whole store
}

func newShared() *shared {
	return &shared{
		large:    semaphore.NewWeighted(largeRequests),
		huge:     semaphore.NewWeighted(hugeRequests),
		whole:    semaphore.NewWeighted(wholeAnswers),
		building: semaphore.NewWeighted(largeBuilds),
		sweeping: semaphore.NewWeighted(sweeps),
	}
}

// A lane is what a request has taken of what is shared, until it is answered. A larger lane
// is taken on top of the smaller one, so that nobody waits for a lane who is himself waited
// for.
type lane struct {
	taken []*semaphore.Weighted
	size  int64       // how many bytes the request may have so far
	late  *time.Timer // gives a client up that takes too long; nil if it need not hurry
}

// How long a client who is not trusted may keep others waiting: that, and as long as so many bytes
// a second take.
const (
	sharePatience = time.Minute
	shareRate     = 256 << 10
)

// hurry gives the client up, if others may be waiting for what it has taken, unless calm is called
// before it could have sent or taken that many bytes.
func (c *conn) hurry(bytes int64) {
	c.calm()
	if !c.trusted && len(c.lane.taken) > 0 {
		c.lane.late = time.AfterFunc(sharePatience+time.Duration(bytes/shareRate)*time.Second, func() { c.fail(ErrStalled) })
	}
}

func (c *conn) calm() {
	if c.lane.late != nil {
		c.lane.late.Stop()
		c.lane.late = nil
	}
}

// acquire waits for its turn. A connection alone never waits.
func (c *conn) acquire(s *semaphore.Weighted) error {
	if s == nil {
		return nil
	}
	if err := s.Acquire(c.ctx, 1); err != nil {
		return context.Cause(c.ctx)
	}
	c.lane.taken = append(c.lane.taken, s)
	if !c.trusted {
		c.tunnel.patience.Store(int64(sharePatience))
	}
	return nil
}

// firstRoom returns how many bytes a request may have at first.
func (c *conn) firstRoom() int64 {
	c.lane.size = min(smallRequest, c.opts.MaxRequest)
	return c.lane.size
}

// moreRequest lets a request be larger, when it is its turn.
func (c *conn) moreRequest() error {
	had, next, gate := c.lane.size, int64(largeRequest), c.shared.large
	if had >= largeRequest {
		next, gate = c.opts.MaxRequest, c.shared.huge
	}
	if next = min(next, c.opts.MaxRequest); next <= had {
		return errTooLarge
	}
	if err := c.acquire(gate); err != nil {
		return err
	}
	c.lane.size, c.in.left = next, next-had
	c.hurry(next - had)
	return nil
}

// endRequest gives back what the request has taken, when the client has what it asked for: until
// then the answer takes memory.
func (c *conn) endRequest() {
	if len(c.lane.taken) > 0 {
		c.out.flush()
	}
	c.giveBack()
}

// giveBack gives back what was taken.
func (c *conn) giveBack() {
	c.calm()
	for _, s := range c.lane.taken {
		s.Release(1)
	}
	c.lane = lane{}
	c.tunnel.patience.Store(0)
}

// builds reports whether an operation builds, which may last for hours. Where nothing is built,
// it is over soon.
func (c *conn) builds(op protocol.Op) bool {
	if !endless[op] {
		return false
	}
	_, builds := store.As[store.Builder](c.store)
	return builds
}

// takeTurnToBuild lets others have what the request has taken. What a large one asks for takes
// memory all the same, so of those there are not many at once.
func (c *conn) takeTurnToBuild() error {
	size := c.lane.size
	c.giveBack()
	if !c.trusted { // what is built or substituted may be what others wait for
		c.tunnel.patience.Store(int64(sharePatience))
	}
	if size <= smallRequest {
		return nil
	}
	return c.acquire(c.shared.building)
}

// endless are the operations that may last for hours, and take little for it: those that build, and
// those that ask or use substituters.
var endless = map[protocol.Op]bool{
	protocol.BuildPaths: true, protocol.BuildPathsWithResults: true, protocol.BuildDerivation: true,
	protocol.EnsurePath: true, protocol.QueryMissing: true, protocol.QueryValidPaths: true,
	protocol.QuerySubstitutablePaths: true, protocol.QuerySubstitutablePathInfos: true,
}

// takeTurn waits until there is room for the work on the whole store, or for an answer about
// it. A client that hangs up meanwhile is noticed.
func (c *conn) takeTurn(ctx context.Context, op protocol.Op) error {
	if c.builds(op) {
		return c.takeTurnToBuild()
	}
	switch op {
	case protocol.QueryAllValidPaths, protocol.FindRoots:
		return c.acquire(c.shared.whole)
	case protocol.VerifyStore, protocol.OptimiseStore, protocol.CollectGarbage:
		return c.acquire(c.shared.sweeping)
	case protocol.BuildPathsWithResults:
		// Without builds there is an answer of several times the size at once.
		if c.lane.size == largeRequest {
			return c.acquire(c.shared.huge)
		}
	}
	return nil
}

// errDraining is why a connection ends that was between two requests when the server shut
// down.
var errDraining = errors.New("the server is shutting down")

// await waits for the next request, unless the server shuts down.
func (c *conn) await() error {
	c.resting.Store(true)
	defer c.resting.Store(false)
	if c.draining.Load() {
		return errDraining
	}
	return c.reader.Peek()
}

// drain ends the connection, as soon as it is between two requests.
func (c *conn) drain() {
	c.draining.Store(true)
	if c.resting.Load() {
		c.fail(errDraining)
	}
}
