package localstore

import (
	"context"

	"pix/storepath"
)

// AddTempRoot keeps a path from being collected until the store, or this session of it, is
// closed, or the process ends. The path need not be valid. When AddTempRoot has returned, it is
// either safe from a collector that runs, or gone.
//
// It may wait for a collector, for as long as that deletes this very path. A store that was opened
// for reading alone does nothing.
func (s *Store) AddTempRoot(ctx context.Context, path storepath.Path) error {
	return s.addTempRoots(ctx, path)
}

// addTempRoots is AddTempRoot for many paths, which takes hardly longer than for one.
func (s *Store) addTempRoots(ctx context.Context, paths ...storepath.Path) error {
	if s.temp == nil {
		return nil
	}
	for _, p := range paths {
		if _, err := s.dir.Parse(string(p)); err != nil {
			return err
		}
	}
	// What is added next must go into the store that is there now.
	if _, err := s.database(ctx, false); err != nil {
		return err
	}
	return s.temp.add(ctx, paths...)
}
