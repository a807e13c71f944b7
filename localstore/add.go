package localstore

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"

	"pix/internal/contextio"
	"pix/internal/githash"
	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An object is added in four steps:
//
//  1. prepare (add_prepare.go) checks the path info, protects the path from collectors, and finds out whether the
//     object is needed.
//  2. create (add_create.go) writes the object, usually in a temporary directory, and compares it with its path info.
//  3. place (add_place.go) moves the object to its name in the store directory, under the lock of the path.
//  4. register (add_register.go) makes the path valid, in one transaction.
//
// If the path follows from contents that are too large for memory, create comes first, because it computes the path.
// AddMultipleToStore (add_multiple.go) does each step for many objects.

// AddTextToStore adds a file with the given contents and references, and returns its path.
func (s *Store) AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	info, err := s.fileInfo(contentSpec{name: name, method: storepath.Text, algo: nixhash.SHA256, references: references}, []byte(contents))
	if err != nil {
		return "", err
	}
	_, err = s.addFile(ctx, info, []byte(contents), false)
	return info.Path, err
}

// AddToStore adds an object whose path follows from its contents. contents is the file itself for the methods Text and
// Flat, and a NAR for NAR and Git. AddToStore does not read beyond the end of the NAR.
func (s *Store) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	return s.addSpec(ctx, contentSpec{name: name, method: m, algo: a, references: references}, contents, opts)
}

// AddScanned is [Store.AddToStore] with the references that occur in the contents, among the candidates. A reference is the
// hash part of a path.
func (s *Store) AddScanned(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, candidates []storepath.Path, contents io.Reader) (*store.PathInfo, error) {
	scan := nar.NewRefScanner(candidates)
	return s.addSpec(ctx, contentSpec{name: name, method: m, algo: a, scan: scan}, io.TeeReader(contents, scan), nil)
}

func (s *Store) addSpec(ctx context.Context, spec contentSpec, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	if err := s.checkSpec(spec); err != nil {
		return nil, err
	}
	repair := opts != nil && opts.Repair
	add := s.addArchive
	if spec.method == storepath.Text || spec.method == storepath.Flat {
		add = s.addContents
	}
	info, added, err := add(ctx, spec, contents, repair)
	switch {
	case err != nil:
		return nil, err
	case added:
		return info, nil
	}
	return s.QueryPathInfo(ctx, info.Path)
}

// AddToStoreNAR adds an object under the path in its info. The archive must have the hash and the size in the info,
// and the references must be valid. Unless opts allows it, the path must follow from the contents, or a trusted key
// must have signed the info. If the path is already valid, AddToStoreNAR returns nil without reading the archive.
//
// Besides the errors of the store it returns [*store.InfoError], [*store.UntrustedError], [*store.MismatchError] and
// [*nar.Error].
//
// It reads the archive before it takes the lock of the path, so a slow sender does not block other writers. A small
// archive is read into memory, and a large one into a temporary directory in the store directory.
func (s *Store) AddToStoreNAR(ctx context.Context, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	if opts == nil {
		opts = new(store.AddOptions)
	}
	if err := s.checkImport(info, opts); err != nil {
		return err
	}
	if needed, err := s.prepare(ctx, info.Path, opts.Repair); err != nil || !needed {
		return err
	}
	if info.NARSize <= smallArchive {
		small, err := readArchive(info, archive)
		if err != nil {
			return err
		}
		return s.addCreated(ctx, info, opts.Repair, func(name string) error {
			root, err := os.OpenRoot(filepath.Dir(name))
			if err != nil {
				return err
			}
			defer root.Close()
			return s.create(ctx, root, filepath.Base(name), info, bytes.NewReader(small), opts)
		})
	}
	d, err := s.newTempDir(ctx)
	if err != nil {
		return err
	}
	defer d.remove()
	if err := s.create(ctx, d.root, tempObject, info, archive, opts); err != nil {
		return err
	}
	return s.addCreated(ctx, info, opts.Repair, d.moveObject)
}

// addCreated adds an object that was prepared before its archive was read. The file of temporary roots may have been
// deleted since then, so addCreated makes the path a root again.
func (s *Store) addCreated(ctx context.Context, info *store.PathInfo, repair bool, create func(name string) error) error {
	roots, err := s.addTempRoots(ctx, info.Path)
	if err != nil {
		return err
	}
	_, err = s.placeAndRegister(ctx, roots, info, repair, create)
	return err
}

// addComputed adds an object whose path follows from its contents. create creates the object under a name, or moves it
// there. addComputed reports whether the path was invalid before, in which case the database contains exactly info.
func (s *Store) addComputed(ctx context.Context, info *store.PathInfo, repair bool, create func(name string) error) (added bool, err error) {
	roots, needed, err := s.prepareComputed(ctx, info.Path, repair)
	if err != nil || !needed {
		return false, err
	}
	return s.placeAndRegister(ctx, roots, info, repair, create)
}

// addFile adds an object that is a file without the execute bit.
func (s *Store) addFile(ctx context.Context, info *store.PathInfo, contents []byte, repair bool) (added bool, err error) {
	return s.addComputed(ctx, info, repair, func(name string) error {
		return objects.CreateFile(name, contents)
	})
}

// smallContents is the size in bytes up to which the contents of a file are read into memory, so that the path is known
// before the file is written.
const smallContents = 256 << 10

// addContents adds an object that is a file, from a reader of its contents.
func (s *Store) addContents(ctx context.Context, spec contentSpec, contents io.Reader, repair bool) (info *store.PathInfo, added bool, err error) {
	var small bytes.Buffer
	_, err = io.CopyN(&small, contents, smallContents+1)
	if err == io.EOF {
		if info, err = s.fileInfo(spec, small.Bytes()); err == nil {
			added, err = s.addFile(ctx, info, small.Bytes(), repair)
		}
		return info, added, err
	}
	if err != nil {
		return nil, false, err
	}
	d, err := s.newTempDir(ctx)
	if err != nil {
		return nil, false, err
	}
	defer d.remove()
	h := spec.algo.New()
	if err := objects.WriteFile(d.root, tempObject, contextio.NewReader(ctx, io.MultiReader(&small, contents)), h); err != nil {
		return nil, false, err
	}
	if info, err = s.computedInfo(spec, nixhash.FromHash(spec.algo, h)); err != nil {
		return nil, false, err
	}
	info.NARHash, info.NARSize, err = nar.HashPath(ctx, d.object(tempObject), nixhash.SHA256, nil)
	if err == nil {
		added, err = s.addComputed(ctx, info, repair, d.moveObject)
	}
	return info, added, err
}

// addArchive adds an object from its archive. It restores the archive before the path is known.
func (s *Store) addArchive(ctx context.Context, spec contentSpec, contents io.Reader, repair bool) (info *store.PathInfo, added bool, err error) {
	d, err := s.newTempDir(ctx)
	if err != nil {
		return nil, false, err
	}
	defer d.remove()
	narHasher := nar.NewHasher(nixhash.SHA256)
	hasher := narHasher
	tee := io.Writer(narHasher)
	if spec.method == storepath.NAR && spec.algo != nixhash.SHA256 {
		hasher = nar.NewHasher(spec.algo)
		tee = io.MultiWriter(narHasher, hasher)
	}
	if err := nar.Restore(ctx, d.root, tempObject, contents, &nar.RestoreOptions{InPlace: true, Canonical: true, Tee: tee}); err != nil {
		return nil, false, err
	}
	hash := hasher.Hash()
	if spec.method == storepath.Git {
		if hash, err = githash.Hash(ctx, d.root, tempObject, spec.algo); err != nil {
			return nil, false, err
		}
	}
	if info, err = s.computedInfo(spec, hash); err != nil {
		return nil, false, err
	}
	info.NARHash, info.NARSize = narHasher.Hash(), narHasher.Size()
	added, err = s.addComputed(ctx, info, repair, d.moveObject)
	return info, added, err
}
