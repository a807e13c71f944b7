package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"pix/internal/spool"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// MakeContentAddressed converts the closure of the roots in src to content-addressed objects,
// and adds these to dst. It returns a map from old to new paths. In the contents of each object
// the paths of its references, and its own hash part, are replaced by the new ones. Its new
// path follows from these contents by the rules.
//
// The stores must have the same store directory. The archive of an object is kept in memory up
// to 1 MiB, and beyond that in temporary files.
//
// Source: src/libstore/make-content-addressed.cc in Nix.
func MakeContentAddressed(ctx context.Context, dst, src Store, roots []storepath.Path, rules Rules) (map[storepath.Path]storepath.Path, error) {
	if dst.Dir() != src.Dir() {
		return nil, fmt.Errorf("cannot copy from a store in %s to one in %s", src.Dir(), dst.Dir())
	}
	var infos []*PathInfo
	for info, err := range Closure(ctx, src, roots...) {
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	infos, err := SortByReferences(infos)
	if err != nil {
		return nil, err
	}
	m := &caConverter{dst: dst, src: src, rules: rules, converted: make(map[storepath.Path]storepath.Path, len(infos))}
	for _, info := range infos {
		if err := m.convert(ctx, info); err != nil {
			return nil, fmt.Errorf("making '%s' content-addressed: %w", info.Path, err)
		}
	}
	return m.converted, nil
}

// A caConverter converts objects to content-addressed ones, references first.
type caConverter struct {
	dst, src  Store
	rules     Rules
	converted map[storepath.Path]storepath.Path
}

func (m *caConverter) convert(ctx context.Context, old *PathInfo) error {
	var references storepath.References
	rewrites := make(map[storepath.Path]storepath.Path)
	for _, ref := range old.References {
		if ref == old.Path {
			references.Self = true
			continue
		}
		references.Others = append(references.Others, m.converted[ref])
		rewrites[ref] = m.converted[ref]
	}
	archive := new(spool.File)
	defer archive.Close()
	hashes, err := m.read(ctx, archive, old.Path, rewrites)
	if err != nil {
		return err
	}
	hash := m.rules.ContentHash(hashes)
	if hash.IsZero() {
		return errors.New("it mentions its own path too often")
	}
	info := &PathInfo{NARSize: hashes.Size, References: references.Others}
	if info.CA, err = storepath.NewContentAddress(storepath.NAR, hash); err != nil {
		return err
	}
	if info.Path, err = m.dst.Dir().FixedOutputPath(old.Path.Name(), info.CA, references); err != nil {
		return err
	}
	if references.Self {
		info.References = append(info.References, info.Path)
	}
	m.converted[old.Path] = info.Path
	return m.add(ctx, info, archive, old.Path.HashPart())
}

// read writes the archive of an object to dst with its references replaced, and returns its
// hashes.
func (m *caConverter) read(ctx context.Context, dst io.Writer, path storepath.Path, rewrites map[storepath.Path]storepath.Path) (nar.ContentHashes, error) {
	h, err := nar.NewModuloHasher(nixhash.SHA256, path.HashPart())
	if err != nil {
		return nar.ContentHashes{}, err
	}
	archive, err := ReadNAR(ctx, m.src, path)
	if err != nil {
		return nar.ContentHashes{}, err
	}
	defer archive.Close()
	w := newPathRewriter(io.MultiWriter(dst, h), m.src.Dir(), rewrites)
	if _, err := nar.Copy(w, archive); err != nil {
		return nar.ContentHashes{}, err
	}
	if err := w.Close(); err != nil {
		return nar.ContentHashes{}, err
	}
	return h.Finish(), nil
}

// add adds an archive. oldPart is the hash part that it contains in place of its own new one.
func (m *caConverter) add(ctx context.Context, info *PathInfo, archive *spool.File, oldPart string) error {
	if err := archive.Rewind(); err != nil {
		return err
	}
	final := new(spool.File)
	defer final.Close()
	hasher := nar.NewHasher(nixhash.SHA256)
	w, err := nar.NewRewriter(io.MultiWriter(final, hasher), map[string]string{oldPart: info.Path.HashPart()})
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, archive); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := final.Rewind(); err != nil {
		return err
	}
	info.NARHash = hasher.Hash()
	return AddNAR(ctx, m.dst, info, final, &AddOptions{Vouched: func(*PathInfo) bool { return true }})
}

// A pathRewriter replaces whole store paths by others of the same length. As in Nix, a hash
// part without its store directory and name stays unchanged.
type pathRewriter struct {
	dst     io.Writer
	prefix  []byte                       // the store directory and a slash
	paths   map[string][2]storepath.Path // old and new path, by the hash part of the old path
	longest int                          // the length of the longest path
	buf     []byte
}

func newPathRewriter(dst io.Writer, dir storepath.Dir, rewrites map[storepath.Path]storepath.Path) *pathRewriter {
	w := &pathRewriter{dst: dst, prefix: []byte(string(dir) + "/"), paths: make(map[string][2]storepath.Path)}
	for from, to := range rewrites {
		w.paths[from.HashPart()] = [2]storepath.Path{from, to}
		w.longest = max(w.longest, len(from))
	}
	return w
}

// Write implements io.Writer.
func (w *pathRewriter) Write(p []byte) (int, error) {
	if w.longest == 0 {
		return w.dst.Write(p)
	}
	w.buf = append(w.buf, p...)
	w.rewrite()
	if n := len(w.buf) - (w.longest - 1); n > 0 {
		if _, err := w.dst.Write(w.buf[:n]); err != nil {
			return 0, err
		}
		w.buf = w.buf[:copy(w.buf, w.buf[n:])]
	}
	return len(p), nil
}

// Close writes the rest of the buffer.
func (w *pathRewriter) Close() error {
	_, err := w.dst.Write(w.buf)
	w.buf = nil
	return err
}

// rewrite replaces the complete paths in the buffer.
func (w *pathRewriter) rewrite() {
	for at := 0; ; {
		next := bytes.Index(w.buf[at:], w.prefix)
		if next < 0 {
			return
		}
		at += next
		here := w.buf[at:]
		part := len(w.prefix) + storepath.HashPartLen
		if len(here) < part {
			return
		}
		paths, ok := w.paths[string(here[len(w.prefix):part])]
		if ok && bytes.HasPrefix(here, []byte(paths[0])) {
			copy(here, paths[1])
		}
		at += len(w.prefix)
	}
}

// Rules select a version of Nix where versions produce different results for the same input.
// They do not affect reading.
type Rules int

const (
	// Rules234 are the rules of Nix 2.34, and the default.
	Rules234 Rules = iota

	// Rules236 are the rules of Nix 2.36. The content address of an object that mentions its
	// own path covers the offsets of the mentions.
	Rules236
)

// ParseRules reads "2.34" or "2.36".
func ParseRules(s string) (Rules, error) {
	for _, r := range []Rules{Rules234, Rules236} {
		if s == r.String() {
			return r, nil
		}
	}
	return 0, fmt.Errorf("unknown rules %q, expected 2.34 or 2.36", s)
}

// String returns the version of Nix.
func (r Rules) String() string {
	if r == Rules236 {
		return "2.36"
	}
	return "2.34"
}

// ContentHash returns the hash for the content address of a new object.
func (r Rules) ContentHash(hashes nar.ContentHashes) nixhash.Hash {
	if r == Rules236 {
		return hashes.WithOffsets
	}
	return hashes.Plain
}

// A RulesStore is a [Store] with configurable rules.
type RulesStore interface{ Rules() Rules }

// RulesOf returns the rules of a store for new objects. The default is [Rules234].
func RulesOf(s Store) Rules {
	if r, ok := As[RulesStore](s); ok {
		return r.Rules()
	}
	return Rules234
}
