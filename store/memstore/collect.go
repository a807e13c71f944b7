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

// tempRoots are the temporary roots of a session. The lock of the store guards them.
type tempRoots struct{ paths map[storepath.Path]bool }

// AddTempRoot adds a temporary root, which keeps a path until the session is closed. The path need not be valid
// yet. Beyond [MaxTempRoots] the error is [ErrFull].
func (s *Store) AddTempRoot(_ context.Context, path storepath.Path) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.temp.paths) >= MaxTempRoots && !s.temp.paths[path] {
		return ErrFull
	}
	s.temp.paths[path] = true
	return nil
}

// MaxTempRoots is the largest number of temporary roots of a session.
const MaxTempRoots = 1 << 18

func (s *Store) addTempRoot(path storepath.Path) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temp.paths[path] = true
}

// AddPermRoot adds a permanent root. No symlink is created: the link is only a name, and a second path with the
// same name replaces the first.
func (s *Store) AddPermRoot(_ context.Context, path storepath.Path, link string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[path] == nil {
		return "", &store.NotFoundError{Path: path}
	}
	s.roots[link] = path
	return link, nil
}

// AddIndirectRoot adds an indirect root, which keeps the current target of a symlink: see [Options.ReadLink].
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

// FindRoots returns all roots, including temporary ones, sorted by path and link.
func (s *Store) FindRoots(context.Context) ([]store.Root, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	roots := s.allRoots()
	store.SortRoots(roots)
	return roots, nil
}

// tempLink is the link of every temporary root.
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

// target returns the valid path to which an indirect root points; the root may point to a file in it.
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

// live returns the closures of the roots, with the valid derivers of all their paths (Nix's keep-derivations, which
// is on by default).
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

// CollectGarbage returns the live or the dead paths, or deletes dead paths.
func (s *Store) CollectGarbage(_ context.Context, opts store.GCOptions) (*store.GCResult, error) {
	if opts.IgnoreLiveness {
		return nil, errors.New("you are not allowed to ignore liveness")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	alive := s.live()
	candidates := s.candidates(opts)
	switch opts.Action {
	case store.GCReturnLive:
		return resultOf(candidates, func(p storepath.Path) bool { return alive[p] }), nil
	case store.GCReturnDead:
		result := resultOf(candidates, func(p storepath.Path) bool { return !alive[p] })
		for _, p := range candidates {
			if !alive[p] {
				result.ArchiveBytes += uint64(len(s.objects[p].nar))
			}
		}
		return result, nil
	case store.GCDeleteDead:
		return s.deleteDead(candidates, alive, opts.MaxFreed), nil
	case store.GCDeleteSpecific:
		return s.deleteSpecific(opts, candidates, alive)
	}
	return nil, fmt.Errorf("unknown action %s", opts.Action)
}

// candidates returns the paths that a collection considers, sorted: all valid paths, or the given ones with their
// referrers if opts.DeleteReferrers is set.
func (c *contents) candidates(opts store.GCOptions) []storepath.Path {
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

// resultOf returns the paths for which include returns true.
func resultOf(paths []storepath.Path, include func(storepath.Path) bool) *store.GCResult {
	result := new(store.GCResult)
	for _, p := range paths {
		if include(p) {
			result.Paths = append(result.Paths, string(p))
		}
	}
	return result
}

// deleteDead deletes paths that are not alive, referrers first, until more than maxFreed bytes are freed. As in Nix
// 2.34, it deletes nothing if maxFreed is 0.
func (c *contents) deleteDead(candidates []storepath.Path, alive map[storepath.Path]bool, maxFreed uint64) *store.GCResult {
	result := new(store.GCResult)
	if maxFreed == 0 {
		return result
	}
	for changed := true; changed && result.BytesFreed <= maxFreed; {
		changed = false
		for _, p := range candidates {
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

// deleteSpecific deletes the candidates, all or none. None of them may be alive, or have a referrer that is not
// deleted.
func (c *contents) deleteSpecific(opts store.GCOptions, candidates []storepath.Path, alive map[storepath.Path]bool) (*store.GCResult, error) {
	deleted := make(map[storepath.Path]bool, len(candidates))
	for _, p := range candidates {
		deleted[p] = true
	}
	for _, p := range candidates {
		needed := alive[p]
		for r := range c.referrers[p] {
			needed = needed || !deleted[r]
		}
		if needed {
			return nil, fmt.Errorf("Cannot delete path '%s' since it is still alive. To find out why, use: nix-store --query --roots and nix-store --query --referrers", p)
		}
	}
	return c.deleteDead(candidates, alive, math.MaxUint64), nil
}

// VerifyStore checks that the references of valid paths are valid and, with checkContents, that archives have the
// hashes in their infos. It cannot repair.
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
