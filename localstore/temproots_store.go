package localstore

import (
	"context"

	"pix/localstore/internal/temproots"
	"pix/storepath"
)

// AddTempRoot keeps a path from being collected until the store, or this session of it, is
// closed, or the process ends. The path need not be valid. When AddTempRoot has returned, it is
// either safe from a collector that runs, or gone.
//
// It may wait for a collector, for as long as that deletes this very path, and for one of Nix 2.3 or 2.4
// until it ends. A store that was opened for reading alone does nothing.
func (s *Store) AddTempRoot(ctx context.Context, path storepath.Path) error {
	_, err := s.addTempRoots(ctx, path)
	return err
}

// AddTempRoots does the same for many paths, which takes hardly longer than for one.
func (s *Store) AddTempRoots(ctx context.Context, paths []storepath.Path) error {
	_, err := s.addTempRoots(ctx, paths...)
	return err
}

// addTempRoots makes temporary roots of many paths, which takes hardly longer than for one. An
// operation that relies on them to its end checks what addTempRoots returns before it reports success.
func (s *Store) addTempRoots(ctx context.Context, paths ...storepath.Path) (temproots.Held, error) {
	if s.temp == nil {
		return temproots.Held{}, nil
	}
	for _, p := range paths {
		if _, err := s.dir.Parse(string(p)); err != nil {
			return temproots.Held{}, err
		}
	}
	// What is added next must go into the store that is there now.
	if _, err := s.database(ctx, false); err != nil {
		return temproots.Held{}, err
	}
	return s.temp.Add(ctx, paths...)
}
