package derivation

import (
	"context"
	"slices"
	"sync"

	"pix/internal/parallel"
	"pix/storepath"
)

// A closureLoader loads the members of a closure, and counts their inputs against the limits.
type closureLoader struct {
	closure *Closure
	loader  Loader

	mu    sync.Mutex
	wake  sync.Cond // todo, busy or the state of the context has changed
	meter *meter
	todo  []pending
	busy  int // goroutines that load derivations

	workers int // number of goroutines
}

// A pending is a derivation to load.
type pending struct {
	path, neededBy storepath.Path
	root           storepath.Path
}

// load loads the closure with the given number of goroutines. They share the list todo, and add the
// inputs that they find to it.
func (f *closureLoader) load(ctx context.Context, roots []storepath.Path, workers int) error {
	f.wake.L, f.workers = &f.mu, workers
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

// work loads derivations until the list is empty.
func (f *closureLoader) work(ctx context.Context) error {
	for {
		batch := f.next(ctx)
		if len(batch) == 0 {
			return nil
		}
		if err := f.loadBatch(ctx, batch); err != nil {
			return err
		}
	}
}

// next waits for derivations to load. It returns none if the context has ended, or if todo is empty and no
// goroutine is busy, which could add to it. The caller must call loadBatch.
func (f *closureLoader) next(ctx context.Context) []pending {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.todo) == 0 && f.busy > 0 && ctx.Err() == nil {
		f.wake.Wait()
	}
	if len(f.todo) == 0 || ctx.Err() != nil {
		return nil
	}
	f.busy++
	n := 1
	if _, ok := f.loader.(BatchLoader); ok {
		n = min((len(f.todo)+f.workers-1)/f.workers, batchSize) // leaves derivations for the other goroutines
	}
	rest := len(f.todo) - n
	batch := slices.Clone(f.todo[rest:])
	f.todo = f.todo[:rest]
	return batch
}

// loadBatch loads derivations that next has returned. After an error the goroutine stays busy: the error ends all goroutines.
func (f *closureLoader) loadBatch(ctx context.Context, batch []pending) error {
	paths := make([]storepath.Path, len(batch))
	for i, p := range batch {
		paths[i] = p.path
	}
	loader := loadAhead(ctx, f.loader, paths)
	for _, p := range batch {
		d, length, err := loadOne(ctx, loader, p.path)
		if err != nil {
			return &LoadError{Path: p.path, NeededBy: p.neededBy, Err: err}
		}
		if err := f.loaded(p, d, length); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
	f.wake.Broadcast()
	return nil
}

// loaded adds a loaded derivation to the closure, and its inputs to todo.
func (f *closureLoader) loaded(l pending, d *Derivation, length int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
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

// add adds path to todo, unless the closure has it. The caller must hold f.mu while goroutines run.
func (f *closureLoader) add(path, neededBy, root storepath.Path) error {
	if f.closure.byPath[path] != nil {
		return nil
	}
	f.closure.byPath[path] = &member{path: path}
	f.todo = append(f.todo, pending{path, neededBy, root})
	return f.meter.found(root, path)
}

// loadOne returns the derivation at path and the length of its text.
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
