package memstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"pix/internal/unsupported"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

var errNoGit = unsupported.Errorf("git hashing is not supported by a store in memory")

// AddTextToStore adds a file with contents and references.
func (s *Store) AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	info, err := s.AddToStore(ctx, name, storepath.Text, nixhash.SHA256, references, strings.NewReader(contents), nil)
	if err != nil {
		return "", err
	}
	return info.Path, nil
}

// AddToStore adds an object by its contents: the bytes of a file for Text and Flat, an archive for NAR. The error
// for Git is [errors.ErrUnsupported].
func (s *Store) AddToStore(_ context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	archive, hash, err := s.readContents(m, a, contents)
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
	info := &store.PathInfo{
		Path:       path,
		NARHash:    nixhash.Sum(nixhash.SHA256, archive),
		NARSize:    uint64(len(archive)),
		References: references,
		CA:         ca,
	}
	if err := s.register(info, archive, opts != nil && opts.Repair); err != nil {
		return nil, err
	}
	o, err := s.get(path)
	if err != nil { // cannot happen: the temporary root keeps the path
		return nil, err
	}
	return clone(&o.info), nil
}

// readContents reads contents, and returns their archive and their hash by a method.
func (s *Store) readContents(m storepath.Method, a nixhash.Algorithm, r io.Reader) ([]byte, nixhash.Hash, error) {
	switch m {
	case storepath.Text, storepath.Flat:
		contents, err := s.readAll(r)
		if err != nil {
			return nil, nixhash.Hash{}, err
		}
		return fileNAR(contents), nixhash.Sum(a, contents), nil
	case storepath.Git:
		return nil, nixhash.Hash{}, errNoGit
	}
	archive, _, err := s.readNAR(r)
	if err != nil {
		return nil, nixhash.Hash{}, err
	}
	return archive, nixhash.Sum(a, archive), nil
}

// AddToStoreNAR adds an object under the path in its info. The archive must have the hash and size of the info, and
// its references must be valid. Unless opts.NoSignatures is set, the path must be content-addressed or signed by a
// trusted key. If the path is valid already, it does nothing and does not read the archive.
func (s *Store) AddToStoreNAR(_ context.Context, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	if opts == nil {
		opts = new(store.AddOptions)
	}
	if _, err := s.Dir().Parse(string(info.Path)); err != nil {
		return &store.InfoError{Path: info.Path, Err: err}
	}
	if !info.IsContentAddressed() && !opts.Vouches(info, false, s.opts.TrustedKeys) {
		return &store.UntrustedError{Path: info.Path}
	}
	s.addTempRoot(info.Path)
	if s.has(info.Path) && !opts.Repair {
		return nil
	}
	b, hash, err := s.readNAR(archive)
	if err != nil {
		return err
	}
	weak, err := checkArchive(info, b, hash)
	if err != nil {
		return err
	}
	if weak && !opts.Vouches(info, true, s.opts.TrustedKeys) {
		return &store.UntrustedError{Path: info.Path, Weak: true}
	}
	return s.register(clone(info), b, opts.Repair)
}

// checkArchive returns an error, with the text of Nix, unless the archive has the hash, the size and the content
// address in the info. It reports whether the content address is weak.
func checkArchive(info *store.PathInfo, archive []byte, hash nixhash.Hash) (weak bool, err error) {
	if err := info.CheckArchive(hash, uint64(len(archive))); err != nil || info.CA.IsZero() {
		return false, err
	}
	got, err := contentHash(info, archive)
	if err != nil {
		return false, &store.InfoError{Path: info.Path, Err: fmt.Errorf("checking the contents of '%s': %w", info.Path, err)}
	}
	return info.CheckContents(got)
}

// AddMultipleToStore adds n objects, each like [Store.AddToStoreNAR]. If some of them cannot be added, it adds the
// others and returns a [*store.AddError].
func (s *Store) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	return store.AddOneByOne(ctx, n, objects, func(info *store.PathInfo, archive io.Reader) error {
		return s.AddToStoreNAR(ctx, info, archive, opts)
	})
}

// register makes a path valid, or replaces the valid object if repair is true. It takes ownership of the info.
func (s *Store) register(info *store.PathInfo, archive []byte, repair bool) error {
	if !info.CA.IsZero() && !info.IsContentAddressed() {
		err := fmt.Errorf("cannot add path '%s' to the Nix store because it claims to be content-addressed but isn't", info.Path)
		return &store.InfoError{Path: info.Path, Err: err}
	}
	info.References = slices.Clone(info.References)
	slices.Sort(info.References)
	info.References = slices.Compact(info.References)
	info.Signatures = union(info.Signatures, nil)
	if info.RegistrationTime.IsZero() {
		info.RegistrationTime = s.opts.Now().UTC().Truncate(time.Second)
	}
	o := &object{info: *info, nar: bytes.Clone(archive)}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.temp.paths[info.Path] = true
	old := s.objects[info.Path]
	if old != nil && !repair {
		return nil
	}
	if err := s.check(o); err != nil {
		return err
	}
	size := s.size + int64(len(o.nar))
	if old != nil {
		size -= int64(len(old.nar))
	}
	if size > s.opts.MaxSize {
		return ErrFull
	}
	if old != nil {
		s.drop(old)
	}
	s.put(o)
	return nil
}

// check returns an error if an object cannot become valid, and sets its drv if it is a derivation. The caller holds
// mu, here and in the functions below.
func (c *contents) check(o *object) error {
	for _, ref := range o.info.References {
		if ref != o.info.Path && c.objects[ref] == nil {
			return &store.MissingReferenceError{Path: o.info.Path, Reference: ref}
		}
	}
	if !o.info.Path.IsDerivation() {
		return nil
	}
	var err error
	if o.drv, err = c.readDerivation(o); err != nil {
		return &store.InfoError{Path: o.info.Path, Err: err}
	}
	return nil
}

// put makes an object valid.
func (c *contents) put(o *object) {
	path := o.info.Path
	c.objects[path] = o
	c.byHashPart[path.HashPart()] = path
	c.size += int64(len(o.nar))
	for _, ref := range o.info.References {
		if ref != path {
			addTo(c.referrers, ref, path)
		}
	}
	if o.drv != nil {
		for _, out := range o.drv.outputs {
			if out != "" {
				addTo(c.derivers, out, path)
			}
		}
	}
}

// drop makes an object invalid.
func (c *contents) drop(o *object) {
	path := o.info.Path
	delete(c.objects, path)
	delete(c.byHashPart, path.HashPart())
	c.size -= int64(len(o.nar))
	for _, ref := range o.info.References {
		removeFrom(c.referrers, ref, path)
	}
	if o.drv != nil {
		for _, out := range o.drv.outputs {
			removeFrom(c.derivers, out, path)
		}
	}
}

func addTo(sets map[storepath.Path]map[storepath.Path]bool, key, path storepath.Path) {
	if sets[key] == nil {
		sets[key] = make(map[storepath.Path]bool)
	}
	sets[key][path] = true
}

func removeFrom(sets map[storepath.Path]map[storepath.Path]bool, key, path storepath.Path) {
	if delete(sets[key], path); len(sets[key]) == 0 {
		delete(sets, key)
	}
}
