package localstore

import (
	"context"
	"io"
	"sync"

	"pix/internal/parallel"
	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// NARFromPath returns the archive of an object. It is read from the disk while it is read by
// the caller, and checked: at its end there is a [*store.ModifiedError] instead of io.EOF if
// it is not the one that was added. The error is a [*store.NotFoundError] if the path is not
// valid.
//
// The archive is an [io.WriterTo], which is faster than reading it.
func (s *Store) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	info, err := s.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	a := &archive{store: s, info: info, ended: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.out, a.in = io.Pipe()
	return a, nil
}

// An archive is one that is being read.
type archive struct {
	store  *Store
	info   *store.PathInfo
	ctx    context.Context
	cancel context.CancelCauseFunc

	begin sync.Once     // for the first who wants the archive, or closes it
	ended chan struct{} // closed when the object is not read any more
	guard parallel.Guard

	out *io.PipeReader // what is dumped by another goroutine, for Read
	in  *io.PipeWriter
}

// Read implements io.Reader. It raises a panic of the goroutine that reads the object again.
func (a *archive) Read(p []byte) (int, error) {
	a.begin.Do(func() {
		go func() {
			defer close(a.ended)
			err := io.ErrUnexpectedEOF // if dump does not return
			defer func() { a.in.CloseWithError(err) }()
			err = a.guard.Call(func() error { return a.dump(a.in) })
		}()
	})
	n, err := a.out.Read(p)
	if err != nil {
		a.guard.Repanic()
	}
	return n, err
}

// WriteTo implements io.WriterTo. No goroutine is needed between the disk and dst.
func (a *archive) WriteTo(dst io.Writer) (n int64, err error) {
	counted := &countingWriter{Writer: dst}
	first := false
	a.begin.Do(func() {
		first = true
		defer close(a.ended)
		if files, ok := dst.(nar.FileWriter); ok {
			err = a.dump(&countingFileWriter{counted, files})
		} else {
			err = a.dump(counted)
		}
		a.in.CloseWithError(err)
	})
	if !first {
		n, err = io.Copy(dst, a.out)
		a.guard.Repanic()
		return n, err
	}
	return counted.n, err
}

// Close ends the dump.
func (a *archive) Close() error {
	a.cancel(ErrClosed)
	a.out.Close()
	a.begin.Do(func() { close(a.ended) })
	<-a.ended
	return nil
}

// dump writes the archive, and returns an error unless it is the right one.
func (a *archive) dump(dst io.Writer) error {
	name := a.store.object(a.info.Path)
	before := a.store.checked.state(name)
	if !a.store.checked.has(a.info, before) {
		return a.dumpChecked(dst, name, before)
	}
	if err := nar.Dump(a.ctx, dst, name, nil); err != nil {
		return err
	}
	if a.store.checked.state(name) == before {
		return nil
	}
	got, _, err := nar.HashPath(a.ctx, name, nixhash.SHA256, nil)
	if err != nil {
		return err
	}
	return a.check(got)
}

// dumpChecked writes the archive and hashes it.
func (a *archive) dumpChecked(dst io.Writer, name string, state objects.State) error {
	h := nar.NewHasher(nixhash.SHA256)
	if err := nar.Dump(a.ctx, &hashedWriter{h, dst}, name, nil); err != nil {
		return err
	}
	err := a.check(h.Hash())
	if err == nil {
		a.store.checked.add(a.info, state)
	}
	return err
}

func (a *archive) check(got nixhash.Hash) error {
	if got != a.info.NARHash {
		return &store.ModifiedError{Path: a.info.Path, Expected: a.info.NARHash, Got: got}
	}
	return nil
}

// A hashedWriter hashes what it writes. Large pieces it hashes while they are written.
type hashedWriter struct {
	hasher *nar.Hasher
	dst    io.Writer
}

func (w *hashedWriter) Write(p []byte) (n int, err error) {
	const large = 32 << 10
	if len(p) < large {
		w.hasher.Write(p)
		return w.dst.Write(p)
	}
	err = parallel.Do(
		func() error { _, err := w.hasher.Write(p); return err },
		func() error { n, err = w.dst.Write(p); return err })
	return n, err
}

// A countingWriter counts what is written.
type countingWriter struct {
	io.Writer
	n int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += int64(n)
	return n, err
}

// A countingFileWriter counts what is written to a writer that takes files.
type countingFileWriter struct {
	*countingWriter
	files nar.FileWriter
}

func (w *countingFileWriter) WriteFile(f nar.File, n int64) (int64, error) {
	written, err := w.files.WriteFile(f, n)
	w.n += written
	return written, err
}
