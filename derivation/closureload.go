package derivation

import (
	"context"
	"sync"

	"pix/internal/parallel"
	"pix/storepath"
)

// A closureLoader loads the members of a closure, and counts what they claim to have as inputs.
type closureLoader struct {
	closure *Closure
	loader  Loader

	mu    sync.Mutex
	wake  sync.Cond // something is to be loaded, or nothing will be any more
	meter *meter
	todo  []loading
	busy  int // goroutines that load a derivation
}

// A loading is a derivation that is to be loaded.
type loading struct {
	path, neededBy storepath.Path
	root           storepath.Path
}

// load fills the closure. A goroutine that finds new inputs puts them on the list of what is to be
// loaded.
func (f *closureLoader) load(ctx context.Context, roots []storepath.Path, workers int) error {
	f.wake.L = &f.mu
	for _, root := range roots {
		if err := f.add(root, "", root); err != nil {
			return err
		}
	}
	group, workCtx := parallel.WithContext(ctx, 0)
	defer context.AfterFunc(workCtx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.wake.Broadcast()
	})()
	for range workers {
		group.Go(func() error { return f.work(workCtx) })
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// work loads one derivation after the other, until there are none left.
func (f *closureLoader) work(ctx context.Context) error {
	for {
		next, ok := f.next(ctx)
		if !ok {
			return nil
		}
		d, length, err := loadOne(ctx, f.loader, next.path)
		if err != nil {
			return &LoadError{Path: next.path, NeededBy: next.neededBy, Err: err}
		}
		if err := f.loaded(next, d, length); err != nil {
			return err
		}
	}
}

// next waits for a derivation that is to be loaded. There is none to come when no goroutine is busy.
func (f *closureLoader) next(ctx context.Context) (next loading, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.todo) == 0 && f.busy > 0 && ctx.Err() == nil {
		f.wake.Wait()
	}
	if len(f.todo) == 0 || ctx.Err() != nil {
		return next, false
	}
	f.busy++
	next = f.todo[len(f.todo)-1]
	f.todo = f.todo[:len(f.todo)-1]
	return next, true
}

// loaded enters a derivation, and its inputs.
func (f *closureLoader) loaded(l loading, d *Derivation, length int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
	f.wake.Broadcast()
	f.closure.byPath[l.path].derivation = d
	if err := f.meter.loaded(l.root, l.path, d, length); err != nil {
		return err
	}
	for input := range f.closure.follow(d) {
		if err := f.add(input, l.path, l.root); err != nil {
			return err
		}
	}
	return nil
}

// add enters a path that is to be loaded, unless it is there. The caller holds the lock, if there
// are other goroutines.
func (f *closureLoader) add(path, neededBy, root storepath.Path) error {
	if f.closure.byPath[path] != nil {
		return nil
	}
	f.closure.byPath[path] = &member{path: path}
	f.todo = append(f.todo, loading{path, neededBy, root})
	return f.meter.found(root, path)
}

// loadOne returns the derivation at path, and how long its text is.
func loadOne(ctx context.Context, l Loader, path storepath.Path) (d *Derivation, length int, err error) {
	if _, err := NameOf(path); err != nil {
		return nil, 0, err
	}
	text, err := l.LoadDerivation(ctx, path)
	if err != nil {
		return nil, 0, err
	}
	d, err = ParseAt(path, text)
	return d, len(text), err
}
