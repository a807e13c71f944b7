package binarycache

import (
	"context"
	"io"
	"strings"

	"pix/internal/unsupported"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// AddTextToStore adds a file with these contents and references, as builtins.toFile does.
func (s *Store) AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	info, err := s.AddToStore(ctx, name, storepath.Text, nixhash.SHA256, references, strings.NewReader(contents), nil)
	if err != nil {
		return "", err
	}
	return info.Path, nil
}

// AddToStore adds an object by its contents: the file itself for Text and Flat, its archive
// for NAR. The error for Git is [errors.ErrUnsupported]. The contents are written to a temporary file
// first, because the path is known only after all of them were hashed.
func (s *Store) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	ctx, end, err := s.startAdd(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if m == storepath.Git {
		return nil, unsupported.Errorf("git hashing is not supported by a binary cache")
	}
	archive, err := s.files.create("nar/x")
	if err != nil {
		return nil, err
	}
	defer archive.discard()
	narHash := nar.NewHasher(nixhash.SHA256)
	sink := io.MultiWriter(archive, narHash)
	hash, err := s.spool(sink, m, a, &contextReader{ctx, contents})
	if err != nil {
		return nil, err
	}
	ca, err := storepath.NewContentAddress(m, hash)
	if err != nil {
		return nil, err
	}
	path, err := s.Dir().FixedOutputPath(name, ca, storepath.References{Others: references})
	if err != nil {
		return nil, err
	}
	info := &store.PathInfo{Path: path, NARHash: narHash.Hash(), NARSize: narHash.Size(), References: references, CA: ca}
	if err := archive.Rewind(); err != nil {
		return nil, err
	}
	if err := s.AddToStoreNAR(ctx, info, archive, opts); err != nil {
		return nil, err
	}
	return s.QueryPathInfo(ctx, path)
}

// spool writes an archive of contents, and returns their hash by method m.
func (s *Store) spool(archive io.Writer, m storepath.Method, a nixhash.Algorithm, contents io.Reader) (nixhash.Hash, error) {
	h := nar.NewHasher(a)
	if m == storepath.NAR {
		_, err := nar.Copy(io.MultiWriter(archive, h), contents)
		return h.Hash(), err
	}
	file, err := s.files.create("nar/x") // in an archive, the size comes before the contents
	if err != nil {
		return nixhash.Hash{}, err
	}
	defer file.discard()
	if _, err := io.Copy(io.MultiWriter(file, h), contents); err != nil {
		return nixhash.Hash{}, err
	}
	if err := file.Rewind(); err != nil {
		return nixhash.Hash{}, err
	}
	return h.Hash(), nar.WriteFile(archive, file, h.Size())
}
