package substitute

import (
	"context"
	"io"
	"sync"

	"pix/activity"
	"pix/store"
	"pix/storepath"
)

// archives are a store that gives the archives of what was found, each from the substituter that has it.
type archives struct {
	store.Store // to which they are added
	call        *call
	claim       *claim
	found       map[storepath.Path]*found
}

// NARFromPath implements [store.NARReader].
func (s *archives) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	f := s.found[path]
	sub := &s.call.search.substituters[f.from]
	a := &fetchedArchive{claim: s.claim, report: s.call.report}
	if a.report != nil {
		a.transfer = a.report.fetch(path, sub.URI)
	}
	archive, err := store.ReadNAR(ctx, sub.Store, f.source)
	if err != nil {
		a.tellEnd()
		return nil, err
	}
	a.ReadCloser, a.from = archive, archive
	if a.report != nil {
		a.from = activity.ProgressReader(a.report, a.transfer.copy, archive, f.info.NARSize)
	}
	return a, nil
}

// RefreshPathInfo implements [store.Refresher]: it asks the substituter of a path again, whose archive was
// not the right one. [store.CopyObjects] calls it while no archive is read.
func (s *archives) RefreshPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	fresh, err := s.call.search.refresh(ctx, s.found[path])
	if err != nil {
		return nil, err
	}
	s.found[path], s.call.found[path] = fresh, fresh
	return fresh.info, nil
}

// A fetchedArchive is an archive from a substituter.
type fetchedArchive struct {
	io.ReadCloser
	from     io.Reader // the same, and tells how far it is
	claim    *claim
	report   *report
	transfer transfer
	ended    sync.Once
}

// Read implements io.Reader.
func (a *fetchedArchive) Read(p []byte) (int, error) {
	n, err := a.from.Read(p)
	a.claim.move()
	return n, err
}

// Close implements io.Closer.
func (a *fetchedArchive) Close() error {
	a.tellEnd()
	return a.ReadCloser.Close()
}

func (a *fetchedArchive) tellEnd() {
	if a.report != nil {
		a.ended.Do(func() { a.report.fetched(a.transfer) })
	}
}
