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

	"pix/activity"
	"pix/internal/compression"
	"pix/internal/unsupported"
	"pix/nar"
	"pix/narinfo"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// defaultCompression is the method for new archives if the options have none.
const defaultCompression = "zstd"

var errReadOnly = unsupported.Errorf("a binary cache behind HTTP is read-only")

// prepareAdd checks that objects can be added, and creates the files and directories that every
// cache has.
func (s *Store) prepareAdd(ctx context.Context) error {
	if s.local == nil {
		return errReadOnly
	}
	if s.closed.Err() != nil {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	s.adding.Lock()
	defer s.adding.Unlock()
	if s.prepared {
		return nil
	}
	if err := s.local.prepare("StoreDir: " + string(s.Dir()) + "\n"); err != nil {
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
// listing and then the narinfo, each renamed to its final name when it is complete and synced.
//
// A cache behind HTTP is read-only: the error is [errors.ErrUnsupported].
func (s *Store) AddToStoreNAR(ctx context.Context, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	if err := s.prepareAdd(ctx); err != nil {
		return err
	}
	repair := opts != nil && opts.Repair
	wanted, err := s.needsArchive(ctx, info, repair)
	if err != nil || !wanted {
		return err
	}
	if err := s.checkReferences(info); err != nil { // before the archive is read and compressed
		return err
	}
	return s.add(ctx, info, archive, repair, func() error { return nil })
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

// add adds an object. Its references must have been added when ready returns.
func (s *Store) add(ctx context.Context, info *store.PathInfo, archive io.Reader, repair bool, ready func() error) error {
	n, listing, err := s.addArchive(ctx, info, archive, repair)
	if err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	if err := s.checkReferences(info); err != nil {
		return err
	}
	if listing != nil {
		text, err := nar.MarshalLS(listing)
		if err != nil { // JSON cannot represent a name that is not UTF-8
			s.warn(ctx, "cannot write a listing of '%s': %v", info.Path, err)
		} else if err := s.local.write(info.Path.HashPart()+".ls", bytes.NewReader(text)); err != nil {
			return err
		}
	}
	if len(s.opts.SecretKeys) > 0 {
		n.Signatures = slices.Clone(n.Signatures)
		if err := n.Sign(s.opts.SecretKeys...); err != nil {
			return err
		}
	}
	return s.writeNarInfo(n)
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
func (s *Store) checkReferences(info *store.PathInfo) error {
	for _, ref := range info.References {
		if ref != info.Path && !s.local.has(narinfo.FileName(ref), -1) {
			return &store.MissingReferenceError{Path: info.Path, Reference: ref, To: "the binary cache"}
		}
	}
	return nil
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
func (s *Store) addArchive(ctx context.Context, info *store.PathInfo, src io.Reader, repair bool) (*narinfo.NarInfo, *nar.Listing, error) {
	f, err := s.local.create("nar/x")
	if err != nil {
		return nil, nil, err
	}
	defer f.discard()
	p, err := s.compress(f, &contextReader{ctx, src}, info.NARSize)
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
	if !repair && s.local.has(n.URL, int64(n.FileSize)) {
		return n, p.listing, nil
	}
	return n, p.listing, f.publish(n.URL)
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

// writeNarInfo publishes a narinfo, which makes its path valid.
func (s *Store) writeNarInfo(n *narinfo.NarInfo) error {
	text, err := n.MarshalText()
	if err != nil {
		return err
	}
	return s.local.write(narinfo.FileName(n.Path), bytes.NewReader(text))
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
	if err := s.prepareAdd(ctx); err != nil {
		return err
	}
	s.adding.Lock()
	defer s.adding.Unlock()
	old, err := s.NarInfo(ctx, path)
	if err != nil {
		return err
	}
	n := *old
	n.Signatures = slices.Concat(n.Signatures, signatures)
	return s.writeNarInfo(&n)
}
