package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// AddToStoreNAR adds an object under the path that its info says. The archive must have the
// info's hash and size, and what it refers to must be valid. Unless the options say otherwise,
// the path must follow from the contents, or be signed by a trusted key. What is valid already
// is left as it is, and the archive is not read.
//
// Besides errors of the store there are [*store.MismatchError] and [*nar.Error] for the
// archive, and [*store.UntrustedError].
//
// Nobody waits for whoever sends the archive: it is read before there is a lock, into memory if it is
// small, else to a place beside the store's objects.
func (s *Store) AddToStoreNAR(ctx context.Context, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	if opts == nil {
		opts = new(store.AddOptions)
	}
	if err := s.checkImport(info, opts); err != nil {
		return err
	}
	if wanted, err := s.isWanted(ctx, info.Path, opts.Repair); err != nil || !wanted {
		return err
	}
	if info.NARSize <= smallArchive {
		small, err := readArchive(info, archive)
		if err != nil {
			return err
		}
		_, err = s.add(ctx, info, opts.Repair, func(name string) error {
			root, err := os.OpenRoot(filepath.Dir(name))
			if err != nil {
				return err
			}
			defer root.Close()
			return s.restore(ctx, root, filepath.Base(name), info, bytes.NewReader(small), opts)
		})
		return err
	}
	d, err := s.makeTempDir(ctx)
	if err != nil {
		return err
	}
	defer d.remove()
	if err := s.restore(ctx, d.root, tempObject, info, archive, opts); err != nil {
		return err
	}
	_, err = s.addMade(ctx, info, d, opts.Repair)
	return err
}

// smallArchive is the size in bytes up to which an archive is read into memory.
const smallArchive = 128 << 10

// readArchive reads an archive that should have the size that its info says, and does not read
// further than that.
func readArchive(info *store.PathInfo, archive io.Reader) ([]byte, error) {
	read := bytes.NewBuffer(make([]byte, 0, info.NARSize))
	_, err := nar.Copy(&roomWriter{read, info.NARSize}, archive)
	if errors.Is(err, errTooLong) {
		err = tooLong(info)
	}
	return read.Bytes(), err
}

var errTooLong = errors.New("it is too long")

// A roomWriter fails when more is written than there is room for.
type roomWriter struct {
	io.Writer
	left uint64
}

func (w *roomWriter) Write(p []byte) (int, error) {
	if uint64(len(p)) > w.left {
		return 0, errTooLong
	}
	w.left -= uint64(len(p))
	return w.Writer.Write(p)
}

// checkImport returns why an object cannot be added from outside: an [*store.InfoError] or an
// [*store.UntrustedError].
func (s *Store) checkImport(info *store.PathInfo, opts *store.AddOptions) error {
	err := s.checkInfo(info)
	if err == nil && info.NARHash.Algorithm() != nixhash.SHA256 {
		err = fmt.Errorf("adding '%s': the hash of its archive must be SHA-256", info.Path)
	}
	if err != nil {
		return &store.InfoError{Path: info.Path, Err: err}
	}
	if s.opts.NoSignatures || info.IsContentAddressed() || opts.Vouches(info, false, s.opts.TrustedKeys) {
		return nil
	}
	return &store.UntrustedError{Path: info.Path}
}

// restore writes an object from its archive, which must be the one that the info describes.
func (s *Store) restore(ctx context.Context, root *os.Root, name string, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	hasher := nar.NewHasher(nixhash.SHA256)
	tee := io.Writer(hasher)
	var mentions *nar.RefScanner
	if isNARHash(info.CA) {
		mentions = nar.NewRefScanner([]storepath.Path{info.Path})
		tee = io.MultiWriter(hasher, mentions)
	}
	err := nar.Restore(ctx, root, name, archive, &nar.RestoreOptions{
		InPlace:   true,
		Canonical: true,
		Tee:       tee,
		MaxSize:   max(info.NARSize, 1), // an archive without end must not fill the disk
		Check: func() error {
			if err := info.CheckArchive(hasher.Hash(), hasher.Size()); err != nil || info.CA.IsZero() {
				return err
			}
			got := nar.ContentHashes{Plain: hasher.Hash(), WithOffsets: hasher.Hash()}
			if mentions == nil || len(mentions.Found()) > 0 {
				var err error
				if got, err = objects.HashContents(ctx, root, name, info); err != nil {
					return &store.InfoError{Path: info.Path, Err: fmt.Errorf("checking the contents of '%s': %w", info.Path, err)}
				}
			}
			return s.checkContents(info, got, opts)
		},
	})
	if errors.Is(err, nar.ErrTooLong) {
		err = tooLong(info)
	}
	return err
}

// checkContents returns why an object with these hashes cannot have the content address of its info.
// A weak address needs a trusted user or a signature, because an untrusted user could upload
// other contents under the same path.
func (s *Store) checkContents(info *store.PathInfo, got nar.ContentHashes, opts *store.AddOptions) error {
	weak, err := info.CheckContents(got)
	if err == nil && weak && !s.opts.NoSignatures && !opts.Vouches(info, true, s.opts.TrustedKeys) {
		err = &store.UntrustedError{Path: info.Path, Weak: true}
	}
	return err
}

func tooLong(info *store.PathInfo) error {
	return &store.MismatchError{What: "size", Path: info.Path, Specified: fmt.Sprint(info.NARSize), Got: "more"}
}

// isNARHash reports whether the hash of a content address is that of the archive, if that does
// not mention its own path.
func isNARHash(ca storepath.ContentAddress) bool {
	return ca.Method() == storepath.NAR && ca.Hash().Algorithm() == nixhash.SHA256
}
