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

	"pix/activity"
	"pix/internal/compression"
	"pix/nar"
	"pix/narinfo"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// defaultCompression is how archives are compressed if nobody says.
const defaultCompression = "zstd"

// errReadOnly says that a cache is only read.
var errReadOnly = fmt.Errorf("a binary cache behind HTTP is only read: %w", errors.ErrUnsupported)

// begin makes sure that something can be added, and that the directory has what a cache
// has.
func (s *Store) begin(ctx context.Context) error {
	if s.local == nil {
		return errReadOnly
	}
	if s.closed.Err() != nil {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	s.adding.Lock()
	defer s.adding.Unlock()
	if s.begun {
		return nil
	}
	if err := s.local.prepare("StoreDir: " + string(s.Dir()) + "\n"); err != nil {
		return err
	}
	s.begun = true
	return nil
}

// AddToStoreNAR adds an object. The archive must have the hash and the size that the info
// says, and all that it refers to must be there. What is there already is left as it is,
// unless it is to be repaired or its archive is gone, and the archive is not read. Nobody is asked for a
// signature: those who take from a cache look at that.
//
// Nothing is seen of an object before all of it is there: the archive comes first, then the
// listing, then the narinfo, each under its name when it is complete and on the disk.
//
// Behind HTTP nothing can be added: the error is [errors.ErrUnsupported].
func (s *Store) AddToStoreNAR(ctx context.Context, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	repair := opts != nil && opts.Repair
	wanted, err := s.isWanted(ctx, info, repair)
	if err != nil || !wanted {
		return err
	}
	if err := s.checkReferences(info); err != nil { // before it takes long
		return err
	}
	return s.add(ctx, info, archive, repair, func() error { return nil })
}

// isWanted checks what is known of an object before its archive is read, and reports whether
// it is to be read.
func (s *Store) isWanted(ctx context.Context, info *store.PathInfo, repair bool) (bool, error) {
	if err := s.checkNew(info); err != nil {
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

// add adds an object whose references are there when ready returns.
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
		if err != nil { // JSON has no form for a name that is not UTF-8
			s.warn(ctx, "there is no listing of '%s': %v", info.Path, err)
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

// warn reports something that is no error. Objects are added on several goroutines, and the handler is called
// by one at a time.
func (s *Store) warn(ctx context.Context, format string, args ...any) {
	s.warning.Lock()
	defer s.warning.Unlock()
	if h := activity.HandlerOf(ctx); h != nil {
		h.HandleEvent(activity.Log{Level: activity.LevelWarn, Text: "warning: " + fmt.Sprintf(format, args...)})
	}
}

// checkReferences checks that all that an object refers to is there.
func (s *Store) checkReferences(info *store.PathInfo) error {
	for _, ref := range info.References {
		if ref != info.Path && !s.local.has(narinfo.FileName(ref), -1) {
			return &store.MissingReferenceError{Path: info.Path, Reference: ref, To: "the binary cache"}
		}
	}
	return nil
}

// checkNew checks what is known of an object before its archive is read. The error is a [*store.InfoError].
func (s *Store) checkNew(info *store.PathInfo) error {
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
		err := fmt.Errorf("cannot add '%s' to the binary cache: its NAR hash is no SHA-256", info.Path)
		return &store.InfoError{Path: info.Path, Err: err}
	}
	return nil
}

// addArchive puts an archive where it belongs, verified and compressed, and says where that
// is, and what is in it if that is to be listed.
func (s *Store) addArchive(ctx context.Context, info *store.PathInfo, src io.Reader, repair bool) (*narinfo.NarInfo, *nar.Listing, error) {
	f, err := s.local.create("nar/x")
	if err != nil {
		return nil, nil, err
	}
	defer f.discard()
	p, err := s.pack(f, &contextReader{ctx, src})
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

// method returns how archives are compressed.
func (s *Store) method() string { return cmp.Or(s.opts.Compression, defaultCompression) }

// A packed is what there is to know of an archive that was compressed.
type packed struct {
	file, nar *nar.Hasher
	listing   *nar.Listing // nil unless it is wanted
}

// pack compresses an archive.
func (s *Store) pack(dst io.Writer, src io.Reader) (*packed, error) {
	p := &packed{file: nar.NewHasher(nixhash.SHA256), nar: nar.NewHasher(nixhash.SHA256)}
	file := bufio.NewWriterSize(io.MultiWriter(dst, p.file), 128<<10)
	encoder, err := compression.Encode(s.method(), file, s.opts.CompressionLevel)
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

// writeNarInfo makes a path valid.
func (s *Store) writeNarInfo(n *narinfo.NarInfo) error {
	text, err := n.MarshalText()
	if err != nil {
		return err
	}
	return s.local.write(narinfo.FileName(n.Path), bytes.NewReader(text))
}

// A contextReader ends with a context.
type contextReader struct {
	ctx context.Context
	src io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, ended(r.ctx)
	}
	return r.src.Read(p)
}

// AddSignatures adds signatures to those that a path has in the cache. They are not
// verified. Who else writes to the same narinfo at the same time may undo it, as in Nix:
// binary caches have no locks.
func (s *Store) AddSignatures(ctx context.Context, path storepath.Path, signatures []string) error {
	if err := s.begin(ctx); err != nil {
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
