package server

import (
	"context"
	"errors"
	"math"
	"time"

	"pix/protocol"
	"pix/store"
)

// Memory that a connection uses without acquiring it.
const (
	// freeRequest is the number of bytes of a request that are read before memory is acquired.
	freeRequest = requestBuffer
	// freeReply is the largest size in bytes of a reply that is not counted.
	freeReply = 8 << 10
)

const (
	// smallInfo is the number of bytes of a path info in an upload that the cost of the upload
	// includes.
	smallInfo = 64 << 10
	// requestStep is the number of bytes of a request that are read after each acquisition.
	requestStep = 16 << 10
	// requestFactor is the number of bytes of memory that each byte of a request needs while it
	// is decoded. Lists of paths need 2, lists of empty strings and maps up to 8.
	requestFactor = 8
	// keptFactor is the number of bytes of memory that each byte of a decoded request needs.
	keptFactor = 3
)

var (
	// errTooLarge means that a request is larger than Options.MaxRequest, or that an untrusted
	// user's request for a long operation does not fit into the user's share.
	errTooLarge = errors.New("the request is too large")
	// errBusy means that a large request would have to wait for long operations.
	errBusy = errors.New("the daemon is busy with large requests; try again later")
)

// memory consists of the budgets that the connections of a server share.
//
// Without overdrafts a deadlock is possible: one connection holds memory of requests and waits for
// memory of work, while another holds memory of work and waits for memory of requests, to send its
// reply. A connection that overdraws requests waits for no memory. If it also needs memory of work,
// which others may hold for hours, it gets errBusy.
type memory struct {
	requests *budget // requests and replies
	work     *budget // long operations: uploads, archives, builds, substitution
	closures *budget // closures, while the store follows references
	lookups  *budget // one unit for each query of a substituter
	sweeps   *budget // one unit per user: one operation on the whole store at a time
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
		lookups:  newBudget(4*maxLookups, maxLookups, false),
		sweeps:   newBudget(math.MaxInt32, 1, false),
	}
}

func (m *memory) budgets() []*budget {
	return []*budget{m.requests, m.work, m.closures, m.lookups, m.sweeps}
}

// accounts are the accounts of a connection, one in each budget.
type accounts struct {
	requests, work, closures, lookups, sweep *account

	used     bool  // memory was acquired since the start of the request
	admitted int64 // number of bytes of work that admit has acquired
}

func (m *memory) open(o owner, h holder) accounts {
	return accounts{
		requests: m.requests.open(o, h), work: m.work.open(o, h),
		closures: m.closures.open(o, h), lookups: m.lookups.open(o, h), sweep: m.sweeps.open(o, h),
	}
}

// release releases everything.
func (a *accounts) release() {
	if a.used {
		a.requests.set(0)
		a.work.set(0)
		a.closures.set(0)
		a.lookups.set(0)
		a.sweep.set(0)
		a.used = false
	}
}

func (a *accounts) close() {
	a.requests.close()
	a.work.close()
	a.closures.close()
	a.lookups.close()
	a.sweep.close()
}

// A cost is the memory that an operation uses in addition to its request and a small reply.
type cost struct {
	bytes  int64
	long   bool  // it may run for hours, so its request counts as work
	sweeps bool  // it processes the whole store
	factor int64 // bytes of memory per byte of its request while it runs; 0 means keptFactor
}

// costs lists operations that need memory for read-ahead of an upload or an archive, for small
// files and infos that stores collect, or for replies whose size is unknown until they exist.
var costs = map[protocol.Op]cost{
	protocol.AddToStore:         {bytes: 1 << 20, long: true},
	protocol.AddToStoreNar:      {bytes: 1 << 20, long: true},
	protocol.AddMultipleToStore: {bytes: 2 << 20, long: true},
	protocol.AddToStoreScanning: {bytes: 1 << 20, long: true},
	protocol.AddBuildLog:        {bytes: 1 << 20, long: true},
	protocol.NarFromPath:        {bytes: 2 << 20, long: true},

	protocol.BuildPaths:                  {bytes: 64 << 10, long: true},
	protocol.BuildPathsWithResults:       {bytes: 64 << 10, long: true, factor: 8},
	protocol.BuildDerivation:             {bytes: 64 << 10, long: true},
	protocol.EnsurePath:                  {bytes: 64 << 10, long: true},
	protocol.QueryMissing:                {bytes: 1 << 20, long: true},
	protocol.QuerySubstitutablePaths:     {bytes: 64 << 10, long: true},
	protocol.QuerySubstitutablePathInfo:  {bytes: 1 << 20, long: true},
	protocol.QuerySubstitutablePathInfos: {bytes: 1 << 20, long: true},

	protocol.VerifyStore:    {bytes: 64 << 10, long: true, sweeps: true},
	protocol.OptimiseStore:  {bytes: 64 << 10, long: true, sweeps: true},
	protocol.CollectGarbage: {bytes: 1 << 20, long: true, sweeps: true},

	protocol.QueryAllValidPaths:         {bytes: 2 << 20},
	protocol.QueryReferrers:             {bytes: 2 << 20},
	protocol.QueryPathInfos:             {bytes: 2 << 20},
	protocol.QueryActiveBuilds:          {bytes: 2 << 20},
	protocol.QueryValidDerivers:         {bytes: 2 << 20},
	protocol.QueryDerivationOutputMap:   {bytes: 2 << 20},
	protocol.QueryDerivationOutputs:     {bytes: 2 << 20},
	protocol.QueryDerivationOutputNames: {bytes: 2 << 20},
	protocol.FindRoots:                  {bytes: 2 << 20},
}

// costOf returns the cost of a request. A query for valid paths that substitutes them is a long
// operation.
func costOf(req protocol.Request) cost {
	if r, ok := req.(*protocol.QueryValidPathsRequest); ok && r.Substitute {
		return costs[protocol.QuerySubstitutablePaths]
	}
	return costs[req.Op()]
}

// acquire waits for memory. Before the wait it sends the replies that are held back, because
// their buffers use memory, too. The wait ends if the client hangs up.
func (c *conn) acquire(a *account, n int64) error {
	if a.tryAcquire(n) {
		c.mem.used = c.mem.used || n > 0
		return nil
	}
	if err := c.out.flush(); err != nil {
		return err
	}
	c.out.freeBuffers()
	c.mem.used = true
	c.in.watch(watchDelay, smallAhead)
	defer c.in.unwatch()
	return a.acquire(c.ctx, n)
}

// startRequest allows a small request to be read without acquiring memory.
func (c *conn) startRequest() {
	c.requestSize = min(freeRequest, c.opts.MaxRequest)
	c.in.remaining = max(c.requestSize-int64(c.reader.Buffered()), 0)
}

// extendRequest allows requestStep more bytes of a request to be read, after it has acquired
// memory for them.
func (c *conn) extendRequest() error {
	n := min(requestStep, c.opts.MaxRequest-c.requestSize)
	if n <= 0 || c.params.Version == 0 { // a handshake is never larger than freeRequest
		return errTooLarge
	}
	if err := c.acquire(c.mem.requests, n*requestFactor); err != nil {
		return err
	}
	c.requestSize, c.in.remaining = c.requestSize+n, n
	return nil
}

// admit waits for the memory that the work on a request needs. Afterwards the request of a long
// operation counts as work, so that it does not keep others from sending requests.
func (c *conn) admit(req protocol.Request) error {
	cost := costOf(req)
	if !cost.long {
		return c.acquire(c.mem.requests, cost.bytes)
	}
	acquire := c.acquire
	if c.mem.requests.isOverdrawn() {
		acquire = c.tryAcquire
	}
	if cost.sweeps && !c.trusted && c.upstream == nil { // an upstream daemon limits them itself
		if err := acquire(c.mem.sweep, 1); err != nil {
			return err
		}
	}
	kept := int64(0)
	if c.requestSize > freeRequest {
		kept = c.requestSize * max(cost.factor, keptFactor)
	}
	share := c.memory.work.perUser
	if kept > share && !c.trusted { // a trusted user may use the whole share for it
		return errTooLarge
	}
	c.mem.admitted = min(kept+cost.bytes, share)
	if err := acquire(c.mem.work, c.mem.admitted); err != nil {
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

// startInfo allows a small path info of an upload to be read, and releases the memory of the
// previous one.
func (c *conn) startInfo() {
	if c.requestSize > smallInfo {
		c.mem.work.set(c.mem.admitted)
	}
	c.requestSize = min(smallInfo, c.opts.MaxRequest)
	c.in.remaining, c.in.extend = c.requestSize, c.extendInfo
}

// extendInfo allows more bytes of a path info to be read, if there is memory for them.
func (c *conn) extendInfo() error {
	n := min(requestStep, c.opts.MaxRequest-c.requestSize)
	if n <= 0 {
		return errTooLarge
	}
	if err := c.tryAcquire(c.mem.work, n*requestFactor); err != nil {
		return err
	}
	c.requestSize, c.in.remaining = c.requestSize+n, n
	return nil
}

// endInfo allows any number of bytes of the upload to be read.
func (c *conn) endInfo() { c.in.remaining, c.in.extend = -1, c.extendRequest }

// chargeReply counts the reply instead of the request and the finished work.
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
func (c *conn) closeStalled() { c.abort(ErrStalled) }

var _ store.ClosureBudget = (*conn)(nil)

// maxLookups limits the number of concurrent substituter queries of all requests of a user. The
// info of a path may have several megabytes, and is counted only after it was received. By
// default a binary cache gets as many requests at a time.
const maxLookups = 32

// errClosures means that the closures of a user's requests need more memory than the user's
// share, or that the closures of all users need more than the budget.
var errClosures = errors.New("the closures of your requests need more memory than the daemon allows; try again later, or increase the memory budget of the daemon")

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
	if err := c.mem.lookups.acquire(ctx, 1); err != nil {
		return err
	}
	defer c.mem.lookups.release(1)
	return ask()
}
