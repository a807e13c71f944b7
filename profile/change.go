package profile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"pix/internal/modes"
	"pix/store"
	"pix/storepath"
)

// Set makes a path the current generation of the profile and returns the generation. If the newest generation points to
// the path already, it becomes the current one, as in Nix; otherwise a new generation is created. Missing directories are
// created.
//
// s must be a store of this machine with roots ([store.Rooter], [store.TempRooter]): the path is protected from the
// collector at all times. An invalid path is a [*store.NotFoundError].
//
// If Set fails after it has created the generation, the generation can remain, but the profile does not change.
func (p *Profile) Set(ctx context.Context, s store.Store, path storepath.Path) (Generation, error) {
	roots, ok := store.As[store.Rooter](s)
	if !ok {
		return Generation{}, &store.UnsupportedError{What: "have roots, which the generations of a profile are"}
	}
	if err := p.checkPath(s, path); err != nil {
		return Generation{}, err
	}
	var set Generation
	err := store.InSession(ctx, s, func(s store.Store) error {
		if err := protect(ctx, s, path); err != nil {
			return err
		}
		if err := modes.MkdirAll(p.anchor); err != nil {
			return err
		}
		return p.locked(ctx, func(dir *directory) (err error) {
			set, err = p.setIn(ctx, dir, roots, path)
			return err
		})
	})
	return set, err
}

// checkPath returns an error if a generation must not point to a path of s.
func (p *Profile) checkPath(s store.Store, path storepath.Path) error {
	if s.Dir() != p.storeDir {
		return fmt.Errorf("profile '%s' is for the store directory %s, and the store has %s", p.Link(), p.storeDir, s.Dir())
	}
	_, err := p.storeDir.Parse(string(path))
	return err
}

// protect makes a path a temporary root, and then checks that it is valid. A collector may delete a path that is checked
// first.
func protect(ctx context.Context, s store.Store, path storepath.Path) error {
	if err := store.AddTempRoots(ctx, s, []storepath.Path{path}); err != nil {
		return err
	}
	valid, err := s.IsValidPath(ctx, path)
	if err == nil && !valid {
		err = &store.NotFoundError{Path: path}
	}
	return err
}

// setIn is Set under the lock.
func (p *Profile) setIn(ctx context.Context, dir *directory, roots store.Rooter, path storepath.Path) (Generation, error) {
	st, err := p.readIn(ctx, dir)
	if err != nil {
		return Generation{}, err
	}
	if err := st.checkTarget(); err != nil {
		return Generation{}, err
	}
	n, err := p.create(ctx, dir, roots, st, path)
	if err != nil {
		return Generation{}, err
	}
	if err := p.switchTo(dir, n); err != nil {
		return Generation{}, err
	}
	if st, err = p.readIn(ctx, dir); err != nil {
		return Generation{}, err
	}
	return st.find(n)
}

// checkTarget returns an error if the symlink of the profile has another purpose, so it must not be replaced.
func (st *state) checkTarget() error {
	if st.target == "" || st.current != nil {
		return nil
	}
	if _, ok := st.profile.parseTarget(st.target); ok {
		return nil
	}
	return &LinkError{st.profile.Link(), fmt.Sprintf("it points to '%s', which is none of its generations", st.target)}
}

// create returns the number of the newest generation if it points to the path, and otherwise creates a generation.
//
// A process that was killed after it had created a generation may not have registered the root. So create registers the
// root of an existing generation, too.
func (p *Profile) create(ctx context.Context, dir *directory, roots store.Rooter, st *state, path storepath.Path) (uint64, error) {
	if last := len(st.generations) - 1; last >= 0 && st.generations[last].Target == string(path) {
		g := &st.generations[last]
		return g.Number, roots.AddIndirectRoot(ctx, g.Link)
	}
	// 'nix-env --set' takes no lock, so another process may create the same generation.
	for n := st.highest + 1; ; n++ {
		if n > maxNumber {
			return 0, &GenerationError{p.Link(), n - 1, fmt.Sprintf("has generation %d, after which there is no number: delete it first", n-1)}
		}
		name := p.generationName(n)
		err := dir.symlink(string(path), name)
		if errors.Is(err, fs.ErrExist) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return 0, err
		}
		if err := roots.AddIndirectRoot(ctx, p.absolute(name)); err != nil {
			return 0, errors.Join(err, dir.remove(name))
		}
		return n, nil
	}
}

const (
	maxTemporary   = 100       // names of temporary symlinks
	staleTemporary = time.Hour // a switch takes milliseconds, so an older symlink belongs to a process that was killed
)

// switchTo makes the profile point to one of its generations, in one step.
func (p *Profile) switchTo(dir *directory, n uint64) error {
	for i := range maxTemporary {
		temp := fmt.Sprintf(".%d_%s", i, p.name) // as Nix names it
		if info, err := dir.lstat(temp); err == nil && info.isSymlink() && time.Since(info.time) > staleTemporary {
			dir.remove(temp)
		}
		err := dir.symlink(p.generationName(n), temp)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			if err = dir.rename(temp, p.name); err != nil {
				err = errors.Join(err, dir.remove(temp))
			}
		}
		return err
	}
	return fmt.Errorf("profile '%s' cannot be switched: all names from .0_%s to .%d_%[2]s exist; delete them", p.Link(), p.name, maxTemporary-1)
}

// Switch makes the generation with a number the current one, and returns it. The error is a [*GenerationError] if there
// is no such generation, or if it does not point into the store.
func (p *Profile) Switch(ctx context.Context, n uint64) (Generation, error) {
	return p.change(ctx, func(st *state) (Generation, error) { return st.find(n) })
}

// Rollback makes the newest generation before the current one the current one, and returns it. If there is none, the
// error is a [*GenerationError].
func (p *Profile) Rollback(ctx context.Context) (Generation, error) {
	return p.change(ctx, (*state).previous)
}

// change switches to the generation that choose returns.
func (p *Profile) change(ctx context.Context, choose func(*state) (Generation, error)) (Generation, error) {
	var g Generation
	if _, err := p.read(ctx); err != nil { // so that no lock file is created for a profile that does not exist
		return g, err
	}
	err := p.locked(ctx, func(dir *directory) error {
		st, err := p.readIn(ctx, dir)
		if err != nil {
			return err
		}
		if g, err = choose(st); err != nil {
			return err
		}
		if g.Path == "" {
			return &GenerationError{p.Link(), g.Number, fmt.Sprintf("has generation %d, but it points to '%s', which is not in the store", g.Number, g.Target)}
		}
		if err := st.checkTarget(); err != nil {
			return err
		}
		g.Current = true
		return p.switchTo(dir, g.Number)
	})
	return g, err
}

// Delete deletes the generations that sel selects, and returns the deleted ones, also after an error. The current
// generation is never deleted: [Numbers] that contain it are a [*CurrentError]. The contents of a generation remain in the
// store until a collection.
func (p *Profile) Delete(ctx context.Context, sel Selection) (deleted []Generation, err error) {
	return p.deleteWithin(ctx, ctx, sel)
}

// deleteWithin is [Profile.Delete], and waits for the lock until wait ends.
func (p *Profile) deleteWithin(ctx, wait context.Context, sel Selection) (deleted []Generation, err error) {
	if _, err := p.Select(ctx, sel); err != nil { // so that no lock file is created for a profile that does not exist
		return nil, err
	}
	err = p.lockedWithin(ctx, wait, func(dir *directory) error {
		st, err := p.readIn(ctx, dir)
		if err != nil {
			return err
		}
		selected, err := sel.choose(st)
		if err != nil {
			return err
		}
		for _, g := range selected {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := dir.remove(p.generationName(g.Number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			deleted = append(deleted, g)
		}
		return nil
	})
	return deleted, err
}

// Select returns the generations that [Profile.Delete] would delete, and deletes none.
func (p *Profile) Select(ctx context.Context, sel Selection) ([]Generation, error) {
	st, err := p.read(ctx)
	if err != nil {
		return nil, err
	}
	return sel.choose(st)
}
