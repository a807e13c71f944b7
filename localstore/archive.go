package localstore

import (
	"context"
	"io"
	"sync"
	"time"

	"pix/internal/parallel"
	"pix/localstore/internal/filetime"
	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// NARFromPath returns the archive of an object, which is read from the disk while the caller reads the archive. If the
// archive does not have the registered hash, the last Read returns a [*store.ModifiedError] instead of io.EOF.
// NARFromPath returns a [*store.NotFoundError] if the path is not valid.
//
// The result is an [io.WriterTo], which is faster than Read.
func (s *Store) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	return s.NARFromOffset(ctx, path, 0)
}

// NARFromOffset returns the archive of an object from an offset on. It does not read the files before the offset, so it
// verifies the hash only if the offset is 0. The error is a [*store.NotFoundError] if the path is not valid, or
// [nar.ErrOffset].
func (s *Store) NARFromOffset(ctx context.Context, path storepath.Path, offset int64) (io.ReadCloser, error) {
	info, err := s.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	if offset < 0 || uint64(offset) > info.NARSize {
		return nil, nar.ErrOffset
	}
	a := &archive{store: s, info: info, offset: offset, ended: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.out, a.in = io.Pipe()
	return a, nil
}

// An archive reads an object and implements the result of NARFromPath.
type archive struct {
	store  *Store
	info   *store.PathInfo
	offset int64 // of the first byte
	ctx    context.Context
	cancel context.CancelCauseFunc

	start sync.Once     // the first Read, WriteTo or Close decides how the object is read
	ended chan struct{} // closed when the object is no longer being read
	guard parallel.Guard

	out *io.PipeReader // Read reads here what another goroutine dumps
	in  *io.PipeWriter
}

// Read implements io.Reader. A panic in the goroutine that reads the object continues in Read.
func (a *archive) Read(p []byte) (int, error) {
	a.start.Do(func() {
		go func() {
			defer close(a.ended)
			err := io.ErrUnexpectedEOF // if dump panics
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

// WriteTo implements io.WriterTo. It copies from the disk to dst on the goroutine of the caller.
func (a *archive) WriteTo(dst io.Writer) (n int64, err error) {
	counted := &countingWriter{Writer: dst}
	first := false
	a.start.Do(func() {
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

// Close stops reading the object, and waits until no goroutine reads it.
func (a *archive) Close() error {
	a.cancel(ErrClosed)
	a.out.Close()
	a.start.Do(func() { close(a.ended) })
	<-a.ended
	return nil
}

// dump writes the archive, and returns a [*store.ModifiedError] if its hash is not the registered one. It does not hash
// an object that was verified before and has not changed since.
func (a *archive) dump(dst io.Writer) error {
	name := a.store.object(a.info.Path)
	if a.offset > 0 {
		return nar.DumpFrom(a.ctx, dst, name, a.offset, nil)
	}
	before := a.store.verified.state(name)
	if !a.store.verified.has(a.info, before) {
		return a.dumpAndVerify(dst, name, before)
	}
	if err := nar.Dump(a.ctx, dst, name, nil); err != nil {
		return err
	}
	if a.store.verified.state(name) == before {
		return nil
	}
	got, _, err := nar.HashPath(a.ctx, name, nixhash.SHA256, nil)
	if err != nil {
		return err
	}
	return a.check(got)
}

// dumpAndVerify writes the archive and verifies its hash. The object had this state before.
func (a *archive) dumpAndVerify(dst io.Writer, name string, state objects.State) error {
	h := nar.NewHasher(nixhash.SHA256)
	if err := nar.Dump(a.ctx, &hashedWriter{h, dst}, name, nil); err != nil {
		return err
	}
	err := a.check(h.Hash())
	if err == nil {
		a.store.verified.add(a.info, state)
	}
	return err
}

func (a *archive) check(got nixhash.Hash) error {
	if got != a.info.NARHash {
		return &store.ModifiedError{Path: a.info.Path, Expected: a.info.NARHash, Got: got}
	}
	return nil
}

// A hashedWriter writes to dst and hashes the same bytes. It hashes a large slice while it writes it.
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

// A countingWriter counts the bytes that are written.
type countingWriter struct {
	io.Writer
	n int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += int64(n)
	return n, err
}

// A countingFileWriter is a countingWriter for a writer to which files can be copied directly.
type countingFileWriter struct {
	*countingWriter
	files nar.FileWriter
}

func (w *countingFileWriter) WriteFile(f nar.File, n int64) (int64, error) {
	written, err := w.files.WriteFile(f, n)
	w.n += written
	return written, err
}

// verifiedObjects are objects whose archives had the registered hash when they were last read, with their states. An
// object that still has the same state need not be hashed again, because no process can change a file without changing
// the time of its last change.
//
// Objects that this process has written from a verified archive are remembered, too: the first read of 256 MB then takes
// 0.1 s instead of 0.2 s.
//
// This does not detect damage by the disk itself. [Store.VerifyStore] does, and so does the receiver of an archive. Nix
// does not verify archives that it sends.
type verifiedObjects struct {
	now func() time.Time // nil means time.Now

	mu     sync.Mutex
	byPath map[storepath.Path]verifiedObject
}

type verifiedObject struct {
	hash  nixhash.Hash // of the archive, as registered
	state objects.State
}

// maxVerified is how many objects are remembered. They need less than 2 MB.
const maxVerified = 1 << 13

// has reports whether an object had the registered hash in this state.
func (v *verifiedObjects) has(info *store.PathInfo, now objects.State) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return now != objects.State{} && v.byPath[info.Path] == verifiedObject{info.NARHash, now}
}

// add records that an object with this state has the registered hash.
func (v *verifiedObjects) add(info *store.PathInfo, state objects.State) {
	if state == (objects.State{}) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byPath == nil || len(v.byPath) >= maxVerified {
		v.byPath = make(map[storepath.Path]verifiedObject)
	}
	v.byPath[info.Path] = verifiedObject{info.NARHash, state}
}

// minWritten is the size in bytes of the smallest archive that addWritten records. Hashing a smaller one takes no longer
// than examining its files.
const minWritten = 1 << 20

// addWritten records an object with this name that this process has just written from an archive with the registered
// hash. Its files have changed so recently that a change within the same tick of the clock has the same time. But until
// the object was in place, no other process knew its files, and they are read-only now.
func (v *verifiedObjects) addWritten(info *store.PathInfo, name string) {
	if info.NARSize >= minWritten {
		v.add(info, objects.StateOf(name, v.time().Add(filetime.Settled)))
	}
}

// state returns the current state of the object with this name; see [objects.StateOf].
func (v *verifiedObjects) state(name string) objects.State { return objects.StateOf(name, v.time()) }

func (v *verifiedObjects) time() time.Time {
	if v.now != nil {
		return v.now()
	}
	return time.Now()
}
