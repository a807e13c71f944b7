package temproots

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"pix/storepath"
)

// Roots are the temporary roots of one part of the process, such as a session of a store. Several goroutines may use
// them. They end with [Roots.Close], or with the process.
type Roots struct {
	process *process

	sem    chan struct{} // of capacity 1: a mutex whose Lock a context can interrupt
	paths  map[storepath.Path]bool
	closed bool
}

// Open returns new Roots without paths. It does not write to the disk.
func Open(s State) *Roots {
	return &Roots{
		process: join(s),
		sem:     make(chan struct{}, 1),
		paths:   make(map[storepath.Path]bool),
	}
}

// Add makes paths temporary roots. After Add has returned, no collector deletes a path that is valid then, as long as
// the returned Held holds. A running collector may have deleted a path before, so the caller checks afterwards whether
// the path is valid.
//
// Add may wait while a collector deletes one of the paths. It waits for a collector of Nix 2.3 or 2.4 until the
// collection ends.
//
// If all paths are already roots, Add still checks that the file of this process has its name, and creates the file
// again if not.
func (r *Roots) Add(ctx context.Context, paths ...storepath.Path) (Held, error) {
	select {
	case r.sem <- struct{}{}:
		defer func() { <-r.sem }()
	case <-ctx.Done():
		return Held{}, context.Cause(ctx)
	}
	if r.closed {
		return Held{}, fmt.Errorf("adding a temporary root: %w", fs.ErrClosed)
	}
	if len(paths) == 0 {
		return Held{}, nil
	}
	fresh := make(map[storepath.Path]bool, len(paths))
	added := make([]storepath.Path, 0, len(paths))
	for _, p := range paths {
		if !r.paths[p] && !fresh[p] {
			fresh[p] = true
			added = append(added, p)
		}
	}
	if err := r.process.record(added); err != nil {
		return Held{}, err
	}
	generation, err := r.process.secure(ctx, added)
	if err != nil {
		return Held{}, errors.Join(err, r.process.release(fresh))
	}
	for _, p := range added {
		r.paths[p] = true
	}
	return Held{r.process, generation}, nil
}

// Tidy removes released roots from the file of this process.
func (r *Roots) Tidy() error { return r.process.tidy() }

// Close releases the roots.
func (r *Roots) Close() error {
	r.sem <- struct{}{}
	defer func() { <-r.sem }()
	if r.closed {
		return nil
	}
	r.closed = true
	return errors.Join(r.process.release(r.paths), r.process.leave())
}

// Held shows whether roots were protected without interruption since [Roots.Add] returned it. The zero Held belongs to
// no roots, and its Check succeeds.
//
// An operation that relies on roots from their addition to its end, such as the registration of an object, calls Check
// before it reports success.
type Held struct {
	process    *process
	generation uint64
}

// ErrLost reports that the file of temporary roots of this process has lost its name, so that a collector may have
// deleted paths that were roots.
var ErrLost = errors.New("the file was deleted while its roots were needed, so garbage collection may have deleted what was added; add it again")

// Check returns [ErrLost] unless every collector that has started so far knows the roots.
func (h Held) Check() error {
	if h.process == nil {
		return nil
	}
	h.process.mu.Lock()
	defer h.process.mu.Unlock()
	return h.process.checkGeneration(h.generation)
}

// Keep is [Held.Check], and prevents further collections until release is called. The caller must call release soon,
// even after an error, and must not wait for a lock before that.
//
// Without Keep, the file could lose its name and a collector could start between the check and the end of a
// transaction.
func (h Held) Keep() (release func(), err error) {
	if h.process == nil {
		return func() {}, nil
	}
	return h.process.keep(h.generation)
}
