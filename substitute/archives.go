package substitute

import (
	"context"
	"errors"
	"io"
	"sync"

	"pix/activity"
	"pix/store"
	"pix/storepath"
)

// archives are a store that gives the archives of what was found, each from the substituter that has it, and
// that remembers which of them failed first.
type archives struct {
	store.Store // to which they are added
	call        *call
	claim       *claim
	found       map[storepath.Path]*found
	stop        func() // ends the copy: whoever waits for another archive need not any more

	mu      sync.Mutex
	culprit storepath.Path
	err     error
}

// NARFromPath implements [store.NARReader].
func (s *archives) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	f := s.found[path]
	sub := &s.call.search.substituters[f.from]
	a := &fetchedArchive{source: s, ctx: ctx, path: path, report: s.call.report}
	if a.report != nil {
		a.transfer = a.report.fetch(path, sub.URI)
	}
	archive, err := store.ReadNAR(ctx, sub.Store, path)
	if err != nil {
		a.tellEnd()
		return nil, a.failed(err)
	}
	a.ReadCloser, a.from = archive, archive
	if a.report != nil {
		a.from = activity.ProgressReader(a.report, a.transfer.copy, archive, f.info.NARSize)
	}
	return a, nil
}

// blame returns which path failed, and why, if that is known.
func (s *archives) blame() (storepath.Path, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.culprit, s.err
}

// A fetchedArchive is an archive from a substituter.
type fetchedArchive struct {
	io.ReadCloser
	from     io.Reader // the same, and tells how far it is
	source   *archives
	ctx      context.Context
	path     storepath.Path
	report   *report
	transfer transfer
	ended    sync.Once
}

// Read implements io.Reader.
func (a *fetchedArchive) Read(p []byte) (int, error) {
	n, err := a.from.Read(p)
	a.source.claim.move()
	if err != nil && err != io.EOF {
		err = a.failed(err)
	}
	return n, err
}

// failed notes why an archive cannot be had, unless it is not wanted any more.
func (a *fetchedArchive) failed(err error) error {
	s := a.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && a.ctx.Err() == nil {
		s.culprit, s.err = a.path, err
		s.stop()
	}
	return err
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

// culprit returns which path an error of the destination is about, or "".
func culpritOf(err error) storepath.Path {
	if mismatch, ok := errors.AsType[*store.MismatchError](err); ok {
		return mismatch.Path
	}
	if untrusted, ok := errors.AsType[*store.UntrustedError](err); ok {
		return untrusted.Path
	}
	return ""
}
