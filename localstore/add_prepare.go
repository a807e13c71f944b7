package localstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Step 1 of adding an object: check its path info, protect its path from collectors, and find out whether the object is
// needed.

// A contentSpec determines, together with its contents, the path of a content-addressed object.
type contentSpec struct {
	name       string
	method     storepath.Method
	algo       nixhash.Algorithm
	references []storepath.Path
	scan       *nar.RefScanner // if not nil, it has read the contents, and knows the references
}

// checkSpec returns an error if no object can have such a content address, so that the caller need not read the contents.
func (s *Store) checkSpec(spec contentSpec) error {
	if !spec.algo.IsValid() {
		return fmt.Errorf("cannot add %q: the hash algorithm is not valid", spec.name)
	}
	_, err := s.computedInfo(spec, nixhash.Sum(spec.algo, nil))
	return err
}

// computedInfo returns the path info of an object whose contents have this hash. The caller sets the hash and the size of
// the archive. computedInfo returns an error if no object can have such a content address, or a reference is not a path
// of this store.
func (s *Store) computedInfo(spec contentSpec, hash nixhash.Hash) (*store.PathInfo, error) {
	ca, err := storepath.NewContentAddress(spec.method, hash)
	if err != nil {
		return nil, err
	}
	references := slices.Clone(spec.references)
	if spec.scan != nil {
		references = spec.scan.Found()
	}
	path, err := s.dir.FixedOutputPath(spec.name, ca, storepath.References{Others: references})
	if err != nil {
		return nil, err
	}
	if err := s.checkPaths(references); err != nil {
		return nil, err
	}
	slices.Sort(references)
	return &store.PathInfo{
		Path: path, CA: ca, References: slices.Compact(references),
		RegistrationTime: time.Unix(time.Now().Unix(), 0).UTC(),
	}, nil
}

// fileInfo returns the path info of an object that is a file with these contents.
func (s *Store) fileInfo(spec contentSpec, contents []byte) (*store.PathInfo, error) {
	info, err := s.computedInfo(spec, nixhash.Sum(spec.algo, contents))
	if err != nil {
		return nil, err
	}
	info.NARHash, info.NARSize = objects.HashFileArchive(contents)
	return info, nil
}

// checkImport returns an error if an object with this info must not be added, whatever its archive contains:
// [*store.InfoError] or [*store.UntrustedError].
func (s *Store) checkImport(info *store.PathInfo, opts *store.AddOptions) error {
	err := s.checkInfo(info)
	if err == nil && info.NARHash.Algorithm() != nixhash.SHA256 {
		err = fmt.Errorf("cannot add '%s': the hash of its archive must be SHA-256", info.Path)
	}
	if err != nil {
		return &store.InfoError{Path: info.Path, Err: err}
	}
	if s.opts.NoSignatures || info.IsContentAddressed() || opts.Vouches(info, false, s.opts.TrustedKeys) {
		return nil
	}
	return &store.UntrustedError{Path: info.Path}
}

// checkInfo returns an error if a path info names paths of another store, or has a wrong content address.
func (s *Store) checkInfo(info *store.PathInfo) error {
	if err := s.checkPaths([]storepath.Path{info.Path}); err != nil {
		return err
	}
	if err := s.checkPaths(info.References); err != nil {
		return err
	}
	if info.Deriver != "" {
		if err := s.checkPaths([]storepath.Path{info.Deriver}); err != nil {
			return err
		}
	}
	if !info.CA.IsZero() && !info.IsContentAddressed() {
		return fmt.Errorf("cannot add path '%s' to the Nix store because it claims to be content-addressed but isn't", info.Path)
	}
	return nil
}

// checkPaths returns an error if one of the paths is not a path of this store.
func (s *Store) checkPaths(paths []storepath.Path) error {
	for _, p := range paths {
		if _, err := s.dir.Parse(string(p)); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes a path a temporary root and reports whether its object is needed. The object of a valid path is needed
// only for a repair. The caller has checked the path info.
func (s *Store) prepare(ctx context.Context, path storepath.Path, repair bool) (needed bool, err error) {
	if _, err := s.addTempRoots(ctx, path); err != nil {
		return false, err
	}
	valid, err := s.isValid(ctx, path, (*database).readOnWriter)
	return err == nil && (!valid || repair), err
}

// prepareComputed is [Store.prepare] for a path that follows from the contents of the object. It does not query the
// database if there is no object: even if the path is valid and its object was lost, only the same contents can take
// its place. For any other path the caller could provide an archive that differs from the registered one.
func (s *Store) prepareComputed(ctx context.Context, path storepath.Path, repair bool) (roots temproots.Held, needed bool, err error) {
	if _, err := s.database(ctx, true); err != nil { // opens the database again if it was deleted
		return roots, false, err
	}
	if roots, err = s.addTempRoots(ctx, path); err != nil {
		return roots, false, err
	}
	if repair || !s.existsOnDisk(path) {
		return roots, true, nil
	}
	valid, err := s.isValid(ctx, path, (*database).readOnWriter)
	return roots, err == nil && !valid, err
}

// addTempRoots makes paths temporary roots. An operation that relies on the roots until it ends calls Check of the
// result before it returns success.
func (s *Store) addTempRoots(ctx context.Context, paths ...storepath.Path) (temproots.Held, error) {
	if s.temp == nil {
		return temproots.Held{}, nil
	}
	for _, p := range paths {
		if _, err := s.dir.Parse(string(p)); err != nil {
			return temproots.Held{}, err
		}
	}
	// If the store was deleted, the roots must be in the store that replaces it.
	if _, err := s.database(ctx, false); err != nil {
		return temproots.Held{}, err
	}
	return s.temp.Add(ctx, paths...)
}

// existsOnDisk reports whether a file has the name of a path, valid or not.
func (s *Store) existsOnDisk(path storepath.Path) bool {
	_, err := objects.Lstat(s.object(path))
	return !errors.Is(err, fs.ErrNotExist)
}
