package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Step 2 of adding an object: write it, and compare it with its path info. See tempdir.go for the directories in which
// objects are created.

// smallArchive is the size in bytes up to which an archive is read into memory, and restored under its final name.
const smallArchive = 128 << 10

// readArchive reads an archive into memory. It does not read more bytes than the size in the info.
func readArchive(info *store.PathInfo, archive io.Reader) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, info.NARSize))
	_, err := nar.Copy(&limitedWriter{buf, info.NARSize}, archive)
	if errors.Is(err, errLimit) {
		err = sizeMismatch(info)
	}
	return buf.Bytes(), err
}

var errLimit = errors.New("the limit is exceeded")

// A limitedWriter returns errLimit from a write that would exceed the limit.
type limitedWriter struct {
	io.Writer
	left uint64 // bytes
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if uint64(len(p)) > w.left {
		return 0, errLimit
	}
	w.left -= uint64(len(p))
	return w.Writer.Write(p)
}

// create restores an archive under a name in root. It returns an error, and leaves no file, if the archive differs from
// the info.
func (s *Store) create(ctx context.Context, root *os.Root, name string, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	hasher := nar.NewHasher(nixhash.SHA256)
	tee := io.Writer(hasher)
	var self *nar.RefScanner
	if isNARHash(info.CA) {
		self = nar.NewRefScanner([]storepath.Path{info.Path})
		tee = io.MultiWriter(hasher, self)
	}
	err := nar.Restore(ctx, root, name, archive, &nar.RestoreOptions{
		InPlace:   true,
		Canonical: true,
		Tee:       tee,
		MaxSize:   max(info.NARSize, 1), // an endless archive must not fill the disk
		Check: func() error {
			if err := info.CheckArchive(hasher.Hash(), hasher.Size()); err != nil || info.CA.IsZero() {
				return err
			}
			got := nar.ContentHashes{Plain: hasher.Hash(), WithOffsets: hasher.Hash()}
			if self == nil || len(self.Found()) > 0 {
				var err error
				if got, err = objects.HashContents(ctx, root, name, info); err != nil {
					return &store.InfoError{Path: info.Path, Err: fmt.Errorf("checking the contents of '%s': %w", info.Path, err)}
				}
			}
			return s.checkContents(info, got, opts)
		},
	})
	if errors.Is(err, nar.ErrTooLong) {
		err = sizeMismatch(info)
	}
	return err
}

// isNARHash reports whether a content address is the hash of the archive itself, unless the archive contains its own
// path.
func isNARHash(ca storepath.ContentAddress) bool {
	return ca.Method() == storepath.NAR && ca.Hash().Algorithm() == nixhash.SHA256
}

// checkContents returns an error if an object with these hashes does not have the content address in its info. A weak
// address needs a trusted user or a signature, because an untrusted user could upload other contents under the same
// path.
func (s *Store) checkContents(info *store.PathInfo, got nar.ContentHashes, opts *store.AddOptions) error {
	weak, err := info.CheckContents(got)
	if err == nil && weak && !s.opts.NoSignatures && !opts.Vouches(info, true, s.opts.TrustedKeys) {
		err = &store.UntrustedError{Path: info.Path, Weak: true}
	}
	return err
}

// sizeMismatch returns the error for an archive that is longer than the size in its info.
func sizeMismatch(info *store.PathInfo) error {
	return &store.MismatchError{What: "size", Path: info.Path, Specified: fmt.Sprint(info.NARSize), Got: "more"}
}

// A contextReader returns the cause of its context from Read when the context is done.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}
