package localstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// smallContents is the size in bytes up to which a file is read whole before it is written,
// so that its path is known first.
const smallContents = 256 << 10

// AddTextToStore adds a file with those contents and references.
func (s *Store) AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	info, err := s.fileInfo(name, storepath.Text, nixhash.SHA256, references, []byte(contents))
	if err != nil {
		return "", err
	}
	_, err = s.addFile(ctx, info, []byte(contents), false)
	return info.Path, err
}

// AddToStore adds an object by its contents: the file itself for Text and Flat, its archive
// for NAR and Git. Nothing after the archive is read.
func (s *Store) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	if err := checkContentAddress(s.dir, name, m, a, references); err != nil {
		return nil, err
	}
	repair := opts != nil && opts.Repair
	add := s.addArchive
	if m == storepath.Text || m == storepath.Flat {
		add = s.addContents
	}
	info, added, err := add(ctx, name, m, a, references, contents, repair)
	switch {
	case err != nil:
		return nil, err
	case added:
		return info, nil
	}
	return s.QueryPathInfo(ctx, info.Path)
}

// checkContentAddress returns why nothing can be added in this way, before its contents are
// read.
func checkContentAddress(dir storepath.Dir, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path) error {
	if !a.IsValid() {
		return fmt.Errorf("adding %q: there is no such hash algorithm", name)
	}
	_, err := infoFor(dir, name, m, nixhash.Sum(a, nil), references)
	return err
}

// infoFor returns the info of an object with that name and hash of its contents.
func infoFor(dir storepath.Dir, name string, m storepath.Method, hash nixhash.Hash, references []storepath.Path) (*store.PathInfo, error) {
	ca, err := storepath.NewContentAddress(m, hash)
	if err != nil {
		return nil, err
	}
	path, err := dir.FixedOutputPath(name, ca, storepath.References{Others: references})
	if err != nil {
		return nil, err
	}
	references = slices.Clone(references)
	slices.Sort(references)
	return &store.PathInfo{
		Path: path, CA: ca, References: slices.Compact(references),
		RegistrationTime: time.Unix(time.Now().Unix(), 0).UTC(),
	}, nil
}

// fileInfo returns the info of an object that is a file with those contents.
func (s *Store) fileInfo(name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents []byte) (*store.PathInfo, error) {
	info, err := infoFor(s.dir, name, m, nixhash.Sum(a, contents), references)
	if err != nil {
		return nil, err
	}
	info.NARHash, info.NARSize = objects.HashFileArchive(contents)
	return info, nil
}

// addFile adds an object that is a file.
func (s *Store) addFile(ctx context.Context, info *store.PathInfo, contents []byte, repair bool) (added bool, err error) {
	return s.add(ctx, info, repair, func(name string) error {
		return objects.CreateFile(name, contents)
	})
}

// addContents adds an object that is a file, whose contents are read. If they are long, they
// are written to the disk first.
func (s *Store) addContents(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, repair bool) (info *store.PathInfo, added bool, err error) {
	var small bytes.Buffer
	_, err = io.CopyN(&small, contents, smallContents+1)
	if err == io.EOF {
		if info, err = s.fileInfo(name, m, a, references, small.Bytes()); err == nil {
			added, err = s.addFile(ctx, info, small.Bytes(), repair)
		}
		return info, added, err
	}
	if err != nil {
		return nil, false, err
	}
	d, err := s.makeTempDir(ctx)
	if err != nil {
		return nil, false, err
	}
	defer d.remove()
	h := a.New()
	if err := objects.WriteFile(d.root, tempObject, contextReader{ctx, io.MultiReader(&small, contents)}, h); err != nil {
		return nil, false, err
	}
	if info, err = infoFor(s.dir, name, m, nixhash.FromHash(a, h), references); err != nil {
		return nil, false, err
	}
	info.NARHash, info.NARSize, err = nar.HashPath(ctx, d.object(tempObject), nixhash.SHA256, nil)
	if err == nil {
		added, err = s.addMade(ctx, info, d, repair)
	}
	return info, added, err
}

// A contextReader reads until the context ends.
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

// addArchive adds an object whose archive is read. It is restored before its path is known.
func (s *Store) addArchive(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, repair bool) (info *store.PathInfo, added bool, err error) {
	d, err := s.makeTempDir(ctx)
	if err != nil {
		return nil, false, err
	}
	defer d.remove()
	narHasher := nar.NewHasher(nixhash.SHA256)
	hasher := narHasher
	tee := io.Writer(narHasher)
	if m == storepath.NAR && a != nixhash.SHA256 {
		hasher = nar.NewHasher(a)
		tee = io.MultiWriter(narHasher, hasher)
	}
	if err := nar.Restore(ctx, d.root, tempObject, contents, &nar.RestoreOptions{InPlace: true, Canonical: true, Tee: tee}); err != nil {
		return nil, false, err
	}
	hash := hasher.Hash()
	if m == storepath.Git {
		if hash, err = objects.HashGit(ctx, d.root, tempObject, a); err != nil {
			return nil, false, err
		}
	}
	if info, err = infoFor(s.dir, name, m, hash, references); err != nil {
		return nil, false, err
	}
	info.NARHash, info.NARSize = narHasher.Hash(), narHasher.Size()
	added, err = s.addMade(ctx, info, d, repair)
	return info, added, err
}

// addMade adds an object that is in a temporary directory, alone.
func (s *Store) addMade(ctx context.Context, info *store.PathInfo, d *tempDir, repair bool) (added bool, err error) {
	return s.add(ctx, info, repair, func(name string) error {
		return d.moveTo(tempObject, name)
	})
}
