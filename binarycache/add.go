package binarycache

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

	"pix/activity"
	"pix/internal/compression"
	"pix/nar"
	"pix/narinfo"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// defaultCompression is the method for new archives if the options have none.
const defaultCompression = "zstd"

// startAdd checks that objects can be added, and once creates the files that every cache has. The returned context
// ends with ctx, or when the store is closed. The caller calls end when the addition has ended.
func (s *Store) startAdd(ctx context.Context) (_ context.Context, end func(), err error) {
	if s.closed.Err() != nil {
		return nil, nil, ErrClosed
	}
	if ctx.Err() != nil {
		return nil, nil, contextError(ctx)
	}
	ctx, cancel := s.endOnClose(ctx)
	if err := s.prepare(ctx); err != nil {
		cancel(nil)
		return nil, nil, err
	}
	return ctx, func() { cancel(nil) }, nil
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.preparing.Acquire(ctx, 1); err != nil {
		return contextError(ctx)
	}
	defer s.preparing.Release(1)
	if s.prepared {
		return nil
	}
	if err := s.files.prepare(ctx, "StoreDir: "+string(s.Dir())+"\n"); err != nil {
		return err
	}
	s.prepared = true
	return nil
}

// AddToStoreNAR adds an object. The archive must have the hash and the size of the info, and
// all references must be in the cache. If the cache has the object and its archive, it is left
// unchanged and the archive is not read, except with opts.Repair. Signatures are not
// required: stores check them when they copy from the cache.
//
// A reader sees either the whole object or nothing: the archive is published first, then the
// listing and then the narinfo. In a directory, each is renamed to its final name when it is complete and synced.
// Behind HTTP, each is sent by a PUT request, which is repeated after a transient failure; an archive that the server
// has is not sent again. The compressed archive is written to a temporary file first, because its name is its hash.
func (s *Store) AddToStoreNAR(ctx context.Context, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	ctx, end, err := s.startAdd(ctx)
	if err != nil {
		return err
	}
	defer end()
	repair := opts != nil && opts.Repair
	wanted, err := s.needsArchive(ctx, info, repair)
	if err != nil || !wanted {
		return err
	}
	if err := s.checkReferences(ctx, info); err != nil { // before the archive is read and compressed
		return err
	}
	return s.add(ctx, info, archive, &addParams{repair: repair})
}

// needsArchive checks the info of an object, and reports whether its archive has to be read.
func (s *Store) needsArchive(ctx context.Context, info *store.PathInfo, repair bool) (bool, error) {
	if err := s.checkInfo(info); err != nil {
		return false, err
	}
	if repair {
		return true, nil
	}
	n, err := s.NarInfo(ctx, info.Path)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	return err == nil && !s.hasArchive(n), err
}

// addParams are the parameters of adding an object.
type addParams struct {
	repair      bool                // replace the archive
	compressing *semaphore.Weighted // acquired while the archive is compressed; nil is no limit
	ready       func() error        // waits until the references have been added; nil does not wait
}

// add adds an object.
func (s *Store) add(ctx context.Context, info *store.PathInfo, archive io.Reader, params *addParams) error {
	n, listing, err := s.addArchive(ctx, info, archive, params)
	if err != nil {
		return err
	}
	if params.ready != nil {
		if err := params.ready(); err != nil {
			return err
		}
	}
	if err := s.checkReferences(ctx, info); err != nil {
		return err
	}
	if listing != nil {
		text, err := nar.MarshalLS(listing)
		if err != nil { // JSON cannot represent a name that is not UTF-8
			s.warn(ctx, "cannot write a listing of '%s': %v", info.Path, err)
		} else if err := s.files.write(ctx, info.Path.HashPart()+".ls", bytes.NewReader(text)); err != nil {
			return err
		}
	}
	if len(s.opts.SecretKeys) > 0 {
		n.Signatures = slices.Clone(n.Signatures)
		if err := n.Sign(s.opts.SecretKeys...); err != nil {
			return err
		}
	}
	return s.writeNarInfo(ctx, n)
}

// warn sends a warning to the handler in ctx. Objects are added on several goroutines, but the handler must
// not be called concurrently.
func (s *Store) warn(ctx context.Context, format string, args ...any) {
	s.warning.Lock()
	defer s.warning.Unlock()
	if h := activity.HandlerOf(ctx); h != nil {
		h.HandleEvent(activity.Log{Level: activity.LevelWarn, Text: "warning: " + fmt.Sprintf(format, args...)})
	}
}

// checkReferences checks that the cache has all references of an object.
func (s *Store) checkReferences(ctx context.Context, info *store.PathInfo) error {
	missing, err := s.missingReference(ctx, slices.DeleteFunc(slices.Clone(info.References), func(ref storepath.Path) bool { return ref == info.Path }))
	if err != nil || missing == "" {
		return err
	}
	return &store.MissingReferenceError{Path: info.Path, Reference: missing, To: "the binary cache"}
}

// missingReference returns the first path that the cache does not have, or "". In a directory, it does not read the
// narinfos. It requests many from a server at once.
func (s *Store) missingReference(ctx context.Context, paths []storepath.Path) (storepath.Path, error) {
	has := func(path storepath.Path) bool { return s.local.has(narinfo.FileName(path), -1) }
	if s.local == nil && len(paths) > 0 {
		valid, err := s.QueryValidPaths(ctx, paths, false)
		if err != nil {
			return "", err
		}
		has = func(path storepath.Path) bool { _, ok := slices.BinarySearch(valid, path); return ok }
	}
	for _, path := range paths {
		if !has(path) {
			return path, nil
		}
	}
	return "", nil
}

// isAnswered reports whether no request to a server is necessary to know if the cache has a path.
func (s *Store) isAnswered(ctx context.Context, path storepath.Path) bool {
	if s.local != nil {
		return true
	}
	_, known := s.narInfos.get(path.HashPart(), s.opts.HTTP.forCall(ctx))
	return known
}

// checkInfo checks the info of an object before its archive is read. The error is a [*store.InfoError].
func (s *Store) checkInfo(info *store.PathInfo) error {
	paths := append([]storepath.Path{info.Path}, info.References...)
	if info.Deriver != "" {
		paths = append(paths, info.Deriver)
	}
	for _, path := range paths {
		if _, err := s.Dir().Parse(string(path)); err != nil {
			return &store.InfoError{Path: info.Path, Err: err}
		}
	}
	if info.NARHash.Algorithm() != nixhash.SHA256 {
		err := fmt.Errorf("cannot add '%s' to the binary cache: its NAR hash must be SHA-256", info.Path)
		return &store.InfoError{Path: info.Path, Err: err}
	}
	return nil
}

// addArchive verifies, compresses and publishes an archive. It returns the narinfo, and the listing if
// the options want one.
func (s *Store) addArchive(ctx context.Context, info *store.PathInfo, src io.Reader, params *addParams) (*narinfo.NarInfo, *nar.Listing, error) {
	f, err := s.files.create("nar/x")
	if err != nil {
		return nil, nil, err
	}
	defer f.discard()
	p, err := s.compressToFile(ctx, f, src, info.NARSize, params.compressing)
	if err != nil {
		return nil, nil, fmt.Errorf("adding '%s' to the binary cache: %w", info.Path, err)
	}
	n := narinfo.New(info, s.method(), p.file.Hash(), p.file.Size())
	if n.NARSize == 0 { // unknown
		n.NARSize = p.nar.Size()
	}
	if err := n.CheckArchive(p.nar.Hash(), p.nar.Size()); err != nil {
		return nil, nil, err
	}
	if !params.repair {
		if has, err := s.files.hasFile(ctx, n.URL, int64(n.FileSize)); has || err != nil {
			return n, p.listing, err
		}
	}
	return n, p.listing, f.publish(ctx, n.URL)
}

// compressToFile compresses an archive to a file. It acquires limit, unless that is nil.
func (s *Store) compressToFile(ctx context.Context, f newFile, src io.Reader, size uint64, limit *semaphore.Weighted) (*compressedArchive, error) {
	if limit != nil {
		if err := limit.Acquire(ctx, 1); err != nil {
			return nil, contextError(ctx)
		}
		defer limit.Release(1)
	}
	p, err := s.compress(f, &contextReader{ctx, src}, size)
	if err == nil {
		err = f.Rewind()
	}
	return p, err
}

// method returns the compression method for new archives.
func (s *Store) method() string { return cmp.Or(s.opts.Compression, defaultCompression) }

// A compressedArchive is the result of compressing an archive.
type compressedArchive struct {
	file, nar *nar.Hasher
	listing   *nar.Listing // nil without the option WriteListings
}

// fileWriters has the buffers of files that are written: most files are smaller than their buffer.
var fileWriters = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 128<<10) }}

// compress compresses an archive from src to dst, and hashes both forms. The archive should have size bytes; 0 is an
// unknown size.
func (s *Store) compress(dst io.Writer, src io.Reader, size uint64) (*compressedArchive, error) {
	p := &compressedArchive{file: nar.NewHasher(nixhash.SHA256), nar: nar.NewHasher(nixhash.SHA256)}
	file := fileWriters.Get().(*bufio.Writer)
	defer fileWriters.Put(file)
	file.Reset(io.MultiWriter(dst, p.file))
	defer file.Reset(nil)
	encoder, err := compression.Encode(s.method(), file, s.opts.CompressionLevel, size)
	if err != nil {
		return nil, err
	}
	lister, sinks := nar.NewLister(), []io.Writer{encoder, p.nar}
	if s.opts.WriteListings {
		sinks = append(sinks, lister)
	}
	_, err = nar.Copy(io.MultiWriter(sinks...), src)
	if closed := encoder.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = file.Flush()
	}
	if err == nil && s.opts.WriteListings {
		p.listing, err = lister.Listing()
	}
	return p, err
}

// writeNarInfo publishes a narinfo, which makes its path valid. The cached absence of the narinfo ends before that, so
// that it is not found again after the path has become valid.
func (s *Store) writeNarInfo(ctx context.Context, n *narinfo.NarInfo) error {
	text, err := n.MarshalText()
	if err != nil {
		return err
	}
	written, err := narinfo.ParseBytes(text, &narinfo.Options{StoreDir: s.Dir()})
	if err != nil {
		return err
	}
	hashPart := n.Path.HashPart()
	s.narInfos.forget(hashPart)
	if err := s.files.write(ctx, narinfo.FileName(n.Path), bytes.NewReader(text)); err != nil {
		return err
	}
	s.narInfos.put(hashPart, written, len(text))
	return nil
}

// A contextReader fails after the end of a context.
type contextReader struct {
	ctx context.Context
	src io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, contextError(r.ctx)
	}
	return r.src.Read(p)
}

// AddSignatures adds signatures to a path in the cache, without verifying them. Binary caches have no
// locks: as in Nix, another process that writes the same narinfo at the same time may undo it.
func (s *Store) AddSignatures(ctx context.Context, path storepath.Path, signatures []string) error {
	ctx, end, err := s.startAdd(ctx)
	if err != nil {
		return err
	}
	defer end()
	if _, err := s.Dir().Parse(string(path)); err != nil {
		return err
	}
	hashPart := path.HashPart()
	changing := s.changing[hashPart[len(hashPart)-1]%16]
	if err := changing.Acquire(ctx, 1); err != nil {
		return contextError(ctx)
	}
	defer changing.Release(1)
	s.narInfos.forget(hashPart) // another process may have added signatures
	old, err := s.NarInfo(ctx, path)
	if err != nil {
		return err
	}
	n := *old
	n.Signatures = slices.Concat(n.Signatures, signatures)
	return s.writeNarInfo(ctx, &n)
}
