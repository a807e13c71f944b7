package substitute

import (
	"context"
	"io"
	"sync"

	"pix/activity"
	"pix/store"
	"pix/storepath"
)

// archives are a store that gives the archives of found paths, each from the substituter that has it. The
// copy reads archives, refreshes infos and asks about signatures on many goroutines at once.
type archives struct {
	store.Store // to which they are added
	call        *call
	claim       *claim

	mu    sync.Mutex
	found map[storepath.Path]*found
}

func (s *archives) get(path storepath.Path) *found {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found[path]
}

// vouched reports whether the settings allow an object with a weak content address. The info decides, and not
// the one that its substituter gives now: that may describe other contents, which have a signature.
func (s *archives) vouched(info *store.PathInfo) bool {
	f := s.get(info.Path)
	return f != nil && s.call.search.vouched(info, f.from)
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
	a.watch.came()
	if err != nil {
		err = a.watch.because(ctx, err)
		a.watch.end()
		a.tellEnd()
		return nil, err
	}
	a.ctx = ctx
	a.ReadCloser, a.from = archive, archive
	if a.report != nil {
		a.from = activity.ProgressReader(a.report, a.transfer.copy, archive, f.info.NARSize)
	}
	return a, nil
}

// RefreshPathInfo implements [store.Refresher]: it asks the substituter of a path again, whose archive was
// not the right one.
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
	from     io.Reader // the same, and tells how far it is
	ctx      context.Context
	watch    *stallWatch
	claim    *claim
	report   *report
	transfer transfer
	ended    sync.Once
}

// Read implements io.Reader.
func (a *fetchedArchive) Read(p []byte) (int, error) {
	a.watch.wait()
	n, err := a.from.Read(p)
	a.watch.came()
	a.claim.move()
	return n, a.watch.because(a.ctx, err)
}

// Close implements io.Closer.
func (a *fetchedArchive) Close() error {
	a.tellEnd()
	defer a.watch.end()
	return a.ReadCloser.Close()
}

func (a *fetchedArchive) tellEnd() {
	if a.report != nil {
		a.ended.Do(func() { a.report.fetched(a.transfer) })
	}
}
