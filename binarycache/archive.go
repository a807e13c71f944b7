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
	"pix/store"
	"pix/storepath"
)

// NARFromPath returns the decompressed archive of an object. The size and the hash of both the
// file and the archive are verified during reading. The last bytes are returned only after
// everything has been verified; otherwise Read returns an [*ArchiveError], which wraps a
// [*MismatchError] or the cause of the failure.
//
// Behind HTTP, a broken download is resumed. The reader needs little memory for archives of any
// size. The decompressor may need up to 128 MiB, but never more than the size of the archive.
func (s *Store) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	n, err := s.NarInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	archive, err := s.openArchive(ctx, n)
	if err == nil {
		return archive, nil
	}
	s.narInfos.forget(path.HashPart())
	if errors.Is(err, ErrGone) { // the narinfo may have been replaced
		if fresh, again := s.NarInfo(ctx, path); again == nil && fresh.URL != n.URL {
			return s.openArchive(ctx, fresh)
		}
	}
	return nil, err
}

// AcquireRead waits until another small archive may be requested. Behind HTTP the number of requests at once adapts to
// what the server bears, up to [HTTPOptions.Parallel].
func (s *Store) AcquireRead(ctx context.Context, _ storepath.Path) (release func(), err error) {
	ctx, cancel := s.endOnClose(ctx)
	defer cancel(nil)
	if err := s.archives.acquire(ctx); err != nil {
		return nil, err
	}
	return s.archives.release, nil
}

// openArchive opens the archive that a narinfo describes.
func (s *Store) openArchive(ctx context.Context, n *narinfo.NarInfo) (io.ReadCloser, error) {
	ctx, cancel := s.endOnClose(ctx)
	file, err := s.files.openArchive(ctx, n.URL, n.NARSize)
	if err != nil {
		cancel(nil)
		return nil, &ArchiveError{n.Path, n.URL, s.uri, missingArchive(err)}
	}
	a := newArchive(n, file, cancel)
	a.cache = s.uri
	a.forget = func() { s.narInfos.forget(n.Path.HashPart()) }
	return a, nil
}

// ErrGone is the error of a path that has a narinfo, but whose archive does not exist, for example
// because old archives are deleted.
var ErrGone = errors.New("it no longer exists")

// missingArchive turns an error about a missing file into ErrGone, so that it is not taken for a missing path.
func missingArchive(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: no such file '%s'", ErrGone, file.Path)
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
	decoded io.Reader // nil before the first read
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
		if failed.Retryable() { // the narinfo may be older than the archive
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
			return 0, a.decodeError(err)
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
		err = a.modified("NAR size", strconv.FormatUint(a.info.NARSize, 10), strconv.FormatUint(a.hasher.Size(), 10), a.hasher.Hash())
	case err != nil && err != io.EOF:
		err = a.decodeError(err)
	case uint64(n) == left: // the archive is complete
		err = a.verify()
	default:
		err = nil
	}
	if err != nil {
		return 0, err // without the last bytes: a caller might accept an archive that parses
	}
	return n, nil
}

// decodeError returns the cause of a decoding error. The decoder may have replaced an error of the
// file by its own.
func (a *archive) decodeError(err error) error {
	if a.file.err != nil && a.file.err != io.EOF {
		return a.file.err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("decompressing (%s): %w", a.info.Compression, err)
}

// verify checks the archive after its last bytes were decoded.
func (a *archive) verify() error {
	var more [1]byte
	n, err := io.ReadFull(a.decoded, more[:])
	if n > 0 {
		return a.modified("NAR size", strconv.FormatUint(a.info.NARSize, 10), "more", nixhash.Hash{})
	}
	if err != io.EOF {
		return a.decodeError(err)
	}
	if got := a.hasher.Hash(); got != a.info.NARHash {
		return a.modified("NAR hash", a.info.NARHash.WithNix32(), got.WithNix32(), got)
	}
	return a.file.verify()
}

// modified returns the error for an archive that does not match its narinfo. Its hash is zero if it was not read to its end.
func (a *archive) modified(what, want, got string, hash nixhash.Hash) error {
	modified := &store.ModifiedError{Path: a.info.Path, Expected: a.info.NARHash, Got: hash}
	return &MismatchError{what, want, got, modified}
}

// A fileReader reads, counts and hashes the file of an archive.
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
		r.limit = maxCompressedSize(info.NARSize)
	}
	return r
}

// maxCompressedSize returns an upper bound for the compressed size of an archive: incompressible data
// grows only a little.
func maxCompressedSize(size uint64) uint64 {
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
		n, err = 0, &MismatchError{"file size", strconv.FormatUint(r.limit, 10), "more", nil}
	}
	r.err = err
	return n, err
}

// verify reads the bytes that the decoder has left over, and then checks the size and the hash.
func (r *fileReader) verify() error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if want := r.info.FileSize; want != 0 && want != r.hasher.Size() {
		return &MismatchError{"file size", strconv.FormatUint(want, 10), strconv.FormatUint(r.hasher.Size(), 10), nil}
	}
	if want := r.info.FileHash; !want.IsZero() && want != r.hasher.Hash() {
		return &MismatchError{"file hash", want.WithNix32(), r.hasher.Hash().WithNix32(), nil}
	}
	return nil
}
