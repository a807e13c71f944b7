package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"

	"pix/internal/compression"
	"pix/nar"
	"pix/narinfo"
	"pix/nixhash"
	"pix/storepath"
)

// NARFromPath returns the archive of an object, decompressed. While it is read it is
// verified, the file as well as what comes out of it, by size and by hash. The last bytes
// come only when all is known to be right; else an [*ArchiveError] comes in their place, of
// a [*MismatchError] or of what broke.
//
// Behind HTTP, a download that breaks goes on where it broke. It takes little memory
// however large the archive is, but for what the decompressor needs, which is at most 128
// MiB and never more than the archive itself.
func (s *Store) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	n, err := s.NarInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	archive, err := s.openArchive(ctx, n)
	if err == nil {
		return archive, nil
	}
	s.known.forget(path.HashPart())
	if errors.Is(err, ErrGone) { // perhaps it is elsewhere by now
		if fresh, again := s.NarInfo(ctx, path); again == nil && fresh.URL != n.URL {
			return s.openArchive(ctx, fresh)
		}
	}
	return nil, err
}

// openArchive opens the archive that a narinfo describes.
func (s *Store) openArchive(ctx context.Context, n *narinfo.NarInfo) (io.ReadCloser, error) {
	ctx, cancel := s.untilClosed(ctx)
	file, err := s.files.openArchive(ctx, n.URL, n.NARSize)
	if err != nil {
		cancel(nil)
		return nil, &ArchiveError{n.Path, n.URL, s.uri, gone(err)}
	}
	a := newArchive(n, file, cancel)
	a.cache = s.uri
	a.forget = func() { s.known.forget(n.Path.HashPart()) }
	return a, nil
}

// ErrGone says that there is no archive, though there is a narinfo: somebody deletes what is old.
var ErrGone = errors.New("it is gone")

// gone is what an error is if it says that there is no archive: the path is not what was
// not found.
func gone(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no file '%s'", ErrGone, file.Path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %v", ErrGone, err)
	}
	return err
}

// An archive reads an archive and verifies it.
type archive struct {
	info    *narinfo.NarInfo
	file    *fileReader
	decoded io.Reader // nil until something was read
	hasher  *nar.Hasher
	err     error
	cancel  context.CancelCauseFunc
	cache   string // its URI
	forget  func() // makes the cache read the narinfo again
}

func newArchive(info *narinfo.NarInfo, file io.ReadCloser, cancel context.CancelCauseFunc) *archive {
	return &archive{info: info, file: newFileReader(info, file), hasher: nar.NewHasher(info.NARHash.Algorithm()), cancel: cancel}
}

// Read implements io.Reader.
func (a *archive) Read(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := a.read(p)
	if err != nil && err != io.EOF {
		failed := &ArchiveError{a.info.Path, a.info.URL, a.cache, err}
		if failed.Retryable() { // perhaps the narinfo is older than the archive
			a.forget()
		}
		err = failed
	}
	a.err = err
	return n, err
}

// Close ends the download, if it has not ended.
func (a *archive) Close() error {
	if a.err == nil {
		a.err = fs.ErrClosed
	}
	err := a.file.src.Close()
	a.cancel(nil)
	return err
}

func (a *archive) read(p []byte) (int, error) {
	if a.decoded == nil {
		decoded, err := compression.Decode(a.info.Compression, a.file, a.info.NARSize)
		if err != nil {
			return 0, a.whyNot(err)
		}
		a.decoded = decoded
	}
	left := a.info.NARSize - a.hasher.Size()
	if left == 0 {
		return 0, io.EOF
	}
	n, err := a.decoded.Read(p[:min(uint64(len(p)), left)])
	a.hasher.Write(p[:n])
	switch {
	case err == io.EOF && uint64(n) < left:
		err = sizeMismatch("NAR size", a.info.NARSize, a.hasher.Size())
	case err != nil && err != io.EOF:
		err = a.whyNot(err)
	case uint64(n) == left: // all is here
		err = a.verify()
	default:
		err = nil
	}
	if err != nil {
		return 0, err // and not the last bytes, with which somebody might be content
	}
	return n, nil
}

// whyNot returns why decoding failed: the decoder may have made something else of an error
// of the file.
func (a *archive) whyNot(err error) error {
	if a.file.err != nil && a.file.err != io.EOF {
		return a.file.err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("decompressing (%s): %w", a.info.Compression, err)
}

// verify looks at the whole, of which everything was decoded that there should be.
func (a *archive) verify() error {
	var more [1]byte
	n, err := io.ReadFull(a.decoded, more[:])
	if n > 0 {
		return &MismatchError{"NAR size", strconv.FormatUint(a.info.NARSize, 10), "more"}
	}
	if err != io.EOF {
		return a.whyNot(err)
	}
	if got := a.hasher.Hash(); got != a.info.NARHash {
		return &MismatchError{"NAR hash", a.info.NARHash.WithNix32(), got.WithNix32()}
	}
	return a.file.verify()
}

func sizeMismatch(what string, want, got uint64) error {
	return &MismatchError{what, strconv.FormatUint(want, 10), strconv.FormatUint(got, 10)}
}

// A fileReader reads the file of an archive, counts and hashes it.
type fileReader struct {
	src    io.ReadCloser
	info   *narinfo.NarInfo
	hasher *nar.Hasher
	limit  uint64
	err    error
}

func newFileReader(info *narinfo.NarInfo, src io.ReadCloser) *fileReader {
	r := &fileReader{src: src, info: info, limit: info.FileSize}
	algorithm := nixhash.SHA256
	if !info.FileHash.IsZero() {
		algorithm = info.FileHash.Algorithm()
	}
	r.hasher = nar.NewHasher(algorithm)
	if r.limit == 0 {
		r.limit = mostCompressed(info.NARSize)
	}
	return r
}

// mostCompressed returns how many bytes can become of so many at most: no way of
// compressing makes much more of what cannot be compressed.
func mostCompressed(size uint64) uint64 {
	size = min(size, math.MaxInt64/2)
	return 1<<20 + size + size/8
}

func (r *fileReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.src.Read(p)
	r.hasher.Write(p[:n])
	if r.hasher.Size() > r.limit {
		n, err = 0, &MismatchError{"file size", strconv.FormatUint(r.limit, 10), "more"}
	}
	r.err = err
	return n, err
}

// verify reads what the decoder has left, and looks at the whole.
func (r *fileReader) verify() error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if want := r.info.FileSize; want != 0 && want != r.hasher.Size() {
		return sizeMismatch("file size", want, r.hasher.Size())
	}
	if want := r.info.FileHash; !want.IsZero() && want != r.hasher.Hash() {
		return &MismatchError{"file hash", want.WithNix32(), r.hasher.Hash().WithNix32()}
	}
	return nil
}
