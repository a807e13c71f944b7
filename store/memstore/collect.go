package memstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// tempRoots are what a session keeps from being collected. They are guarded by the store's
// lock.
type tempRoots struct{ paths map[storepath.Path]bool }

// AddTempRoot keeps a path until the session is closed. It need not be valid yet.
// A session has room for [MaxTempRoots], then the error is [ErrFull].
func (s *Store) AddTempRoot(_ context.Context, path storepath.Path) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.temp.paths) >= MaxTempRoots && !s.temp.paths[path] {
		return ErrFull
	}
	s.temp.paths[path] = true
	return nil
}

// MaxTempRoots is how many temporary roots a session may add.
const MaxTempRoots = 1 << 18

func (s *Store) addTempRoot(path storepath.Path) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temp.paths[path] = true
}

// AddPermRoot keeps a path. There is no file system in which a symlink could be made: the
// link is only a name, and another path under it takes the place of the first.
func (s *Store) AddPermRoot(_ context.Context, path storepath.Path, link string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[path] == nil {
		return "", &store.NotFoundError{Path: path}
	}
	s.roots[link] = path
	return link, nil
}

// AddIndirectRoot keeps what the symlink points to, as long as it does: see
// [Options.ReadLink].
func (s *Store) AddIndirectRoot(_ context.Context, link string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.indirect[link] {
		return nil
	}
	if s.size += int64(len(link)); s.size > s.opts.MaxSize {
		s.size -= int64(len(link))
		return ErrFull
	}
	s.indirect[link] = true
	return nil
}

// FindRoots returns all roots, those of sessions too, sorted by path and link.
func (s *Store) FindRoots(context.Context) ([]store.Root, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	roots := s.allRoots()
	store.SortRoots(roots)
	return roots, nil
}

// tempLink is what stands for the link of a temporary root.
const tempLink = "{temp}"

func (c *contents) allRoots() []store.Root {
	var roots []store.Root
	for link, path := range c.roots {
		roots = append(roots, store.Root{Link: link, Path: path})
	}
	for link := range c.indirect {
		if path, ok := c.target(link); ok {
			roots = append(roots, store.Root{Link: link, Path: path})
		}
	}
	temporary := make(map[storepath.Path]bool)
	for temp := range c.sessions {
		maps.Copy(temporary, temp.paths)
	}
	for path := range temporary {
		if c.objects[path] != nil {
			roots = append(roots, store.Root{Link: tempLink, Path: path})
		}
	}
	return roots
}

// target returns the valid path that an indirect root points to, or into.
func (c *contents) target(link string) (storepath.Path, bool) {
	if c.opts.ReadLink == nil {
		return "", false
	}
	to, err := c.opts.ReadLink(link)
	if err != nil {
		return "", false
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(link), to)
	}
	path, _, err := c.opts.Dir.ParseInside(to)
	return path, err == nil && c.objects[path] != nil
}

// live returns what roots need: what they refer to, and the derivations that made it, as
// far as they are valid (Nix's keep-derivations, which is on unless it is turned off).
func (c *contents) live() map[storepath.Path]bool {
	alive := make(map[storepath.Path]bool)
	var todo []*object
	visit := func(path storepath.Path) {
		if o := c.objects[path]; o != nil && !alive[path] {
			alive[path] = true
			todo = append(todo, o)
		}
	}
	for _, root := range c.allRoots() {
		visit(root.Path)
	}
	for len(todo) > 0 {
		o := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, ref := range o.info.References {
			visit(ref)
		}
		if c.derivers[o.info.Path][o.info.Deriver] {
			visit(o.info.Deriver)
		}
	}
	return alive
}

// CollectGarbage says what is live or dead, or deletes what is dead.
func (s *Store) CollectGarbage(_ context.Context, opts store.GCOptions) (*store.GCResult, error) {
	if opts.IgnoreLiveness {
		return nil, errors.New("you are not allowed to ignore liveness")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	alive := s.live()
	within := s.within(opts)
	switch opts.Action {
	case store.GCReturnLive:
		return resultOf(within, func(p storepath.Path) bool { return alive[p] }), nil
	case store.GCReturnDead:
		return resultOf(within, func(p storepath.Path) bool { return !alive[p] }), nil
	case store.GCDeleteDead:
		return s.deleteDead(within, alive, opts.MaxFreed), nil
	case store.GCDeleteSpecific:
		return s.deleteSpecific(opts, within, alive)
	}
	return nil, fmt.Errorf("there is no action %s", opts.Action)
}

// within returns the paths that a collection is about, sorted: all that are valid, or the
// given ones, and if that is wanted what refers to them.
func (c *contents) within(opts store.GCOptions) []storepath.Path {
	if opts.Paths == nil {
		return slices.Sorted(maps.Keys(c.objects))
	}
	found := make(map[storepath.Path]bool)
	todo := slices.Clone(opts.Paths)
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if c.objects[p] == nil || found[p] {
			continue
		}
		found[p] = true
		if opts.DeleteReferrers {
			todo = slices.AppendSeq(todo, maps.Keys(c.referrers[p]))
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// resultOf returns those of the paths that are wanted.
func resultOf(paths []storepath.Path, wanted func(storepath.Path) bool) *store.GCResult {
	result := new(store.GCResult)
	for _, p := range paths {
		if wanted(p) {
			result.Paths = append(result.Paths, string(p))
		}
	}
	return result
}

// deleteDead deletes what is not alive, referrers first, until more than so many bytes
// are freed. As in Nix 2.34, nothing is deleted if that is 0.
func (c *contents) deleteDead(within []storepath.Path, alive map[storepath.Path]bool, maxFreed uint64) *store.GCResult {
	result := new(store.GCResult)
	if maxFreed == 0 {
		return result
	}
	for changed := true; changed && result.BytesFreed <= maxFreed; {
		changed = false
		for _, p := range within {
			o := c.objects[p]
			if o == nil || alive[p] || len(c.referrers[p]) > 0 {
				continue
			}
			c.delete(o, result)
			if changed = true; result.BytesFreed > maxFreed {
				break
			}
		}
	}
	maps.DeleteFunc(c.realisations, func(_ outputID, r *store.KeyedRealisation) bool { return c.objects[r.OutPath] == nil })
	slices.Sort(result.Paths)
	return result
}

func (c *contents) delete(o *object, result *store.GCResult) {
	c.drop(o)
	result.Paths = append(result.Paths, string(o.info.Path))
	result.BytesFreed += uint64(len(o.nar))
}

// deleteSpecific deletes the given paths, all or none: none of them may be alive, or be
// referred to by what is not deleted.
func (c *contents) deleteSpecific(opts store.GCOptions, within []storepath.Path, alive map[storepath.Path]bool) (*store.GCResult, error) {
	among := make(map[storepath.Path]bool, len(within))
	for _, p := range within {
		among[p] = true
	}
	for _, p := range within {
		needed := alive[p]
		for r := range c.referrers[p] {
			needed = needed || !among[r]
		}
		if needed {
			return nil, fmt.Errorf("Cannot delete path '%s' since it is still alive. To find out why, use: nix-store --query --roots and nix-store --query --referrers", p)
		}
	}
	return c.deleteDead(within, alive, math.MaxUint64), nil
}

// VerifyStore checks that what valid paths refer to is valid and, if that is wanted, that
// archives have the hashes that they should have. Nothing can be repaired.
func (s *Store) VerifyStore(ctx context.Context, checkContents, _ bool) (errorsRemain bool, err error) {
	s.mu.RLock()
	objects := slices.Collect(maps.Values(s.objects))
	s.mu.RUnlock()
	for _, o := range objects {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		for _, ref := range o.info.References {
			errorsRemain = errorsRemain || !s.has(ref)
		}
		if checkContents && nixhash.Sum(nixhash.SHA256, o.nar) != o.info.NARHash {
			errorsRemain = true
		}
	}
	return errorsRemain, nil
}
