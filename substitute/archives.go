package substitute

import (
	"context"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"

	"pix/activity"
	"pix/store"
	"pix/storepath"
)

// archives is a store that reads the archive of each found path from its substituter. The copy
// reads archives, refreshes infos and checks signatures on many goroutines at once.
type archives struct {
	store.Store // the destination
	call        *call
	claim       *claim

	reads *semaphore.Weighted // of small archives from substituters that do not limit them

	mu    sync.Mutex
	found map[storepath.Path]*found
}

// archiveReads is the number of small archives that are read at once from substituters that do not limit them.
const archiveReads = 16

func (s *archives) get(path storepath.Path) *found {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found[path]
}

// trusts reports whether the settings allow an object with a weak content address. It judges the given info,
// not the info that the substituter has now: that may be a signed one of other contents.
func (s *archives) trusts(info *store.PathInfo) bool {
	f := s.get(info.Path)
	return f != nil && s.call.search.trusts(info, f.from)
}

// NARFromPath implements [store.NARReader].
func (s *archives) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	f := s.get(path)
	sub := &s.call.search.substituters[f.from]
	a := &fetchedArchive{claim: s.claim, report: s.call.report}
	if a.report != nil {
		a.transfer = a.report.fetch(path, sub.URI)
	}
	ctx, a.watch = watchStall(ctx, sub.Store, s.call.store.opts.stallTimeout())
	archive, err := store.ReadNAR(ctx, sub.Store, f.source)
	a.watch.pause()
	if err != nil {
		err = a.watch.because(ctx, err)
		a.watch.end()
		a.reportEnd()
		return nil, err
	}
	a.ctx = ctx
	a.ReadCloser, a.from = archive, archive
	if a.report != nil {
		a.from = activity.ProgressReader(a.report, a.transfer.copy, archive, f.info.NARSize)
	}
	return a, nil
}

// AcquireRead implements [store.ReadLimiter]: the substituter of a path limits the reads.
func (s *archives) AcquireRead(ctx context.Context, path storepath.Path) (release func(), err error) {
	f := s.get(path)
	if limiter, ok := store.As[store.ReadLimiter](s.call.search.substituters[f.from].Store); ok {
		return limiter.AcquireRead(ctx, f.source)
	}
	if err := s.reads.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { s.reads.Release(1) }, nil
}

// RefreshPathInfo implements [store.Refresher]: it asks the substituter of a path again after a damaged
// archive.
func (s *archives) RefreshPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	fresh, err := s.call.search.refresh(ctx, s.get(path))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found[path] = fresh
	return fresh.info, nil
}

// A fetchedArchive is an archive from a substituter.
type fetchedArchive struct {
	io.ReadCloser
	from     io.Reader // the same archive, with progress reports
	ctx      context.Context
	watch    *stallWatch
	claim    *claim
	report   *report
	transfer transfer
	ended    sync.Once
}

// Read implements io.Reader.
func (a *fetchedArchive) Read(p []byte) (int, error) {
	a.watch.start()
	n, err := a.from.Read(p)
	a.watch.pause()
	a.claim.touch()
	return n, a.watch.because(a.ctx, err)
}

// Close implements io.Closer.
func (a *fetchedArchive) Close() error {
	a.reportEnd()
	defer a.watch.end()
	return a.ReadCloser.Close()
}

func (a *fetchedArchive) reportEnd() {
	if a.report != nil {
		a.ended.Do(func() { a.report.fetched(a.transfer) })
	}
}
