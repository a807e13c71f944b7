package builder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"pix/builder/sandbox"
	"pix/storepath"
)

// A Scope has the paths that a builder with the feature recursive-nix may know: its input closure, and the paths that
// were added while it runs. A path is in it only together with its references. Its methods may be called by any number
// of goroutines at once.
type Scope struct {
	build   *build
	live    *sandbox.Live   // nil without a sandbox, where a builder sees the whole store
	mounted map[string]bool // the places in the sandbox that had mounts from the start

	adding sync.Mutex // held while a path is mounted
	mu     sync.RWMutex
	added  map[storepath.Path]bool

	submitted map[string]storepath.Path // by output
}

func newScope(b *build) *Scope {
	return &Scope{build: b, mounted: make(map[string]bool), added: make(map[storepath.Path]bool), submitted: make(map[string]storepath.Path)}
}

// Has reports whether the builder may know a path.
func (s *Scope) Has(path storepath.Path) bool {
	if s.build.closure[path] { // does not change while the builder runs
		return true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.added[path]
}

// Paths returns all paths of the scope, sorted.
func (s *Scope) Paths() []storepath.Path {
	s.mu.RLock()
	defer s.mu.RUnlock()
	paths := slices.AppendSeq(slices.Collect(maps.Keys(s.added)), maps.Keys(s.build.closure))
	slices.Sort(paths)
	return slices.Compact(paths)
}

// maxAdded limits how many paths a builder adds. Each is a mount, and a machine has at most 100,000 in a namespace.
const maxAdded = 1 << 15

// Add adds a valid path, which a temporary root protects, and makes it appear in the sandbox. The caller has added the
// references. Outputs may refer to the path from now on.
func (s *Scope) Add(ctx context.Context, path storepath.Path) error {
	s.adding.Lock()
	defer s.adding.Unlock()
	if s.Has(path) {
		return nil
	}
	if slices.ContainsFunc(s.build.outputs, func(o *output) bool { return o.path == path || o.scratch == path }) {
		return fmt.Errorf("cannot add '%s', which is an output of the build that adds it", path)
	}
	if len(s.added) >= maxAdded {
		return fmt.Errorf("the builder has added %d paths, which is the limit", maxAdded)
	}
	if s.live != nil && !s.mounted[string(path)] {
		err := s.live.Mount(ctx, s.build.outside(s.build.store.ObjectFile(path)), string(path))
		if errors.Is(err, sandbox.ErrEnded) {
			return errBuilderEnded
		}
		if err != nil {
			return fmt.Errorf("could not add path '%s' to sandbox: %w", path, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added[path] = true
	return nil
}
