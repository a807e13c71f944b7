package server

import (
	"errors"
	"math"
	"time"

	"pix/protocol"
)

// A connection uses this much memory without acquiring it.
const (
	// freeRequest is how many bytes of a request are read before memory is acquired.
	freeRequest = requestBuffer
	// freeReply is the size in bytes of a reply that is not counted.
	freeReply = 8 << 10
)

const (
	// smallInfo is how many bytes of a path info in an upload are part of the upload's cost.
	smallInfo = 64 << 10
	// requestStep is how many bytes of a request are read for each acquisition.
	requestStep = 16 << 10
	// requestFactor is how many bytes of memory a byte of a request takes while it is decoded.
	// Lists of paths take 2, lists of empty strings and maps up to 8.
	requestFactor = 8
	// keptFactor is how many a byte takes of a request that is decoded.
	keptFactor = 3
)

var (
	// errTooLarge says that a request is larger than Options.MaxRequest, or that the request of an
	// untrusted user for an operation that lasts does not fit into the user's share.
	errTooLarge = errors.New("the request is too large")
	// errBusy says that a large request would have to wait for operations that last.
	errBusy = errors.New("the daemon is busy with large requests; try again later")
)

// memory has the budgets that the connections of a server share.
//
// A deadlock is possible without overdrafts: one connection holds a part of requests and waits for
// work, while another holds a part of work and waits for requests, to send its reply. A connection
// that overdraws requests waits for no memory at all. If it then needs work, which others may hold for
// hours, it gets errBusy.
type memory struct {
	requests *budget // requests and replies
	work     *budget // of operations that last: uploads, archives, builds, substitution
	closures *budget // of what the store holds while it follows references
	asking   *budget // of one unit for each question to a substituter
	sweeps   *budget // of one unit for each user, who goes through the whole store once at a time
}

// DefaultMemoryBudget is the default of Server.MemoryBudget, in bytes.
const DefaultMemoryBudget = 128 << 20

func newMemory(limit int64) *memory {
	if limit <= 0 {
		limit = DefaultMemoryBudget
	}
	half := limit / 2
	return &memory{
		requests: newBudget(half, half/4, true),
		work:     newBudget(half, half/4, false),
		closures: newBudget(2*limit, limit-limit/4, false),
		asking:   newBudget(4*maxAsking, maxAsking, false),
		sweeps:   newBudget(math.MaxInt32, 1, false),
	}
}

func (m *memory) budgets() []*budget {
	return []*budget{m.requests, m.work, m.closures, m.asking, m.sweeps}
}

// accounts has one connection's account in each budget.
type accounts struct {
	requests, work, closures, asking, sweep *account

	used bool  // anything was acquired since the request began
	kept int64 // bytes that admit has acquired in work
}

func (m *memory) open(o owner, h holder) accounts {
	return accounts{
		requests: m.requests.open(o, h), work: m.work.open(o, h),
		closures: m.closures.open(o, h), asking: m.asking.open(o, h), sweep: m.sweeps.open(o, h),
	}
}

// release releases everything.
func (a *accounts) release() {
	if a.used {
		a.requests.set(0)
		a.work.set(0)
		a.closures.set(0)
		a.asking.set(0)
		a.sweep.set(0)
		a.used = false
	}
}

func (a *accounts) close() {
	a.requests.close()
	a.work.close()
	a.closures.close()
	a.asking.close()
	a.sweep.close()
}

// A cost is the memory that an operation uses in addition to its request and a small reply.
type cost struct {
	bytes  int64
	lasts  bool  // it may run for hours: its request is counted as work
	sweeps bool  // it goes through the whole store
	factor int64 // bytes of memory for a byte of its request while it runs; 0 is keptFactor
}

// costs has the operations that use memory for read-ahead of an upload or an archive, for small files
// and infos that stores gather, or for replies whose size is known only when they exist.
var costs = map[protocol.Op]cost{
	protocol.AddToStore:         {bytes: 1 << 20, lasts: true},
	protocol.AddToStoreNar:      {bytes: 1 << 20, lasts: true},
	protocol.AddMultipleToStore: {bytes: 2 << 20, lasts: true},
	protocol.AddToStoreScanning: {bytes: 1 << 20, lasts: true},
	protocol.AddBuildLog:        {bytes: 1 << 20, lasts: true},
	protocol.NarFromPath:        {bytes: 2 << 20, lasts: true},

	protocol.BuildPaths:                  {bytes: 64 << 10, lasts: true},
	protocol.BuildPathsWithResults:       {bytes: 64 << 10, lasts: true, factor: 8},
	protocol.BuildDerivation:             {bytes: 64 << 10, lasts: true},
	protocol.EnsurePath:                  {bytes: 64 << 10, lasts: true},
	protocol.QueryMissing:                {bytes: 1 << 20, lasts: true},
	protocol.QuerySubstitutablePaths:     {bytes: 64 << 10, lasts: true},
	protocol.QuerySubstitutablePathInfo:  {bytes: 1 << 20, lasts: true},
	protocol.QuerySubstitutablePathInfos: {bytes: 1 << 20, lasts: true},

	protocol.VerifyStore:    {bytes: 64 << 10, lasts: true, sweeps: true},
	protocol.OptimiseStore:  {bytes: 64 << 10, lasts: true, sweeps: true},
	protocol.CollectGarbage: {bytes: 1 << 20, lasts: true, sweeps: true},

	protocol.QueryAllValidPaths:         {bytes: 2 << 20},
	protocol.QueryReferrers:             {bytes: 2 << 20},
	protocol.QueryPathInfos:             {bytes: 2 << 20},
	protocol.QueryValidDerivers:         {bytes: 2 << 20},
	protocol.QueryDerivationOutputMap:   {bytes: 2 << 20},
	protocol.QueryDerivationOutputs:     {bytes: 2 << 20},
	protocol.QueryDerivationOutputNames: {bytes: 2 << 20},
	protocol.FindRoots:                  {bytes: 2 << 20},
}

// costOf returns what the work on a request costs. A query for valid paths that may substitute
// them lasts.
func costOf(req protocol.Request) cost {
	if r, ok := req.(*protocol.QueryValidPathsRequest); ok && r.Substitute {
		return costs[protocol.QuerySubstitutablePaths]
	}
	return costs[req.Op()]
}

// acquire waits for memory. Before that it sends the replies that are held back, because their
// buffers are memory, too. The wait ends if the client hangs up meanwhile.
func (c *conn) acquire(a *account, n int64) error {
	if a.tryAcquire(n) {
		c.mem.used = c.mem.used || n > 0
		return nil
	}
	if err := c.out.sendHeld(); err != nil {
		return err
	}
	c.out.freeBuffers()
	c.mem.used = true
	c.in.watch(watchDelay, smallAhead)
	defer c.in.unwatch()
	return a.acquire(c.ctx, n)
}

// startRequest lets a small request be read without acquiring memory.
func (c *conn) startRequest() {
	c.size = min(freeRequest, c.opts.MaxRequest)
	c.in.left = max(c.size-int64(c.reader.Buffered()), 0)
}

// moreRequest lets requestStep more bytes of a request be read, and waits for the memory for them.
func (c *conn) moreRequest() error {
	n := min(requestStep, c.opts.MaxRequest-c.size)
	if n <= 0 || c.params.Version == 0 { // no handshake is larger than freeRequest
		return errTooLarge
	}
	if err := c.acquire(c.mem.requests, n*requestFactor); err != nil {
		return err
	}
	c.size, c.in.left = c.size+n, n
	return nil
}

// admit waits for the memory that the work on a request uses. Afterwards the request of an operation
// that lasts counts as work, so that it keeps no others from sending requests.
func (c *conn) admit(req protocol.Request) error {
	cost := costOf(req)
	if !cost.lasts {
		return c.acquire(c.mem.requests, cost.bytes)
	}
	acquire := c.acquire
	if c.mem.requests.isOverdrawn() {
		acquire = c.tryAcquire
	}
	if cost.sweeps && !c.trusted && c.upstream == nil { // the daemon behind limits its own sweeps
		if err := acquire(c.mem.sweep, 1); err != nil {
			return err
		}
	}
	kept := int64(0)
	if c.size > freeRequest {
		kept = c.size * max(cost.factor, keptFactor)
	}
	share := c.memory.work.share
	if kept > share && !c.trusted { // a trusted user gets the whole share for it
		return errTooLarge
	}
	c.mem.kept = min(kept+cost.bytes, share)
	if err := acquire(c.mem.work, c.mem.kept); err != nil {
		return err
	}
	c.mem.requests.set(0)
	return nil
}

// tryAcquire acquires memory for a connection that must not wait.
func (c *conn) tryAcquire(a *account, n int64) error {
	if !a.tryAcquire(n) {
		return errBusy
	}
	c.mem.used = true
	return nil
}

// startInfo lets a path info in an upload be read, and releases what the one before has taken.
func (c *conn) startInfo() {
	if c.size > smallInfo {
		c.mem.work.set(c.mem.kept)
	}
	c.size = min(smallInfo, c.opts.MaxRequest)
	c.in.left, c.in.more = c.size, c.moreInfo
}

// moreInfo lets more of a path info be read, if there is memory for it.
func (c *conn) moreInfo() error {
	n := min(requestStep, c.opts.MaxRequest-c.size)
	if n <= 0 {
		return errTooLarge
	}
	if err := c.tryAcquire(c.mem.work, n*requestFactor); err != nil {
		return err
	}
	c.size, c.in.left = c.size+n, n
	return nil
}

// endInfo lets any number of bytes of the upload be read.
func (c *conn) endInfo() { c.in.left, c.in.more = -1, c.moreRequest }

// chargeReply counts the reply instead of the request and the work, which are done.
func (c *conn) chargeReply(reply []byte) {
	n := int64(cap(reply))
	if n <= freeReply {
		n = 0
	}
	if n == 0 && !c.mem.used {
		return
	}
	c.mem.used = true
	c.mem.requests.set(n)
	c.mem.closures.set(0)
	c.mem.sweep.set(0)
	if c.archive == nil {
		c.mem.work.set(0)
	}
}

// startHolding implements holder.
func (c *conn) startHolding() {
	if c.holds.Add(1) == 1 {
		c.in.stalled.reset()
		c.out.stalled.reset()
	}
}

// stopHolding implements holder.
func (c *conn) stopHolding() { c.holds.Add(-1) }

// lateness implements holder.
func (c *conn) lateness() time.Duration {
	return max(c.in.stalled.lateness(), c.out.stalled.lateness())
}

// closeStalled implements holder.
func (c *conn) closeStalled() { c.fail(ErrStalled) }
