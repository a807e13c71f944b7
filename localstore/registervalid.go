package localstore

import (
	"context"

	"pix/store"
	"pix/storepath"
)

// RegisterValidPaths makes paths valid, all or none, without their objects: the caller vouches that each object exists and
// has the hash of its info, as for 'nix-store --load-db'. Only derivations are read. It replaces the infos of paths that
// are valid already, also their signatures; of several infos of a path the last one counts. References must be valid, or
// among the paths.
func (s *Store) RegisterValidPaths(ctx context.Context, infos []*store.PathInfo) error {
	last := make(map[storepath.Path]int, len(infos))
	for i, info := range infos {
		if err := s.checkInfo(info); err != nil {
			return err
		}
		last[info.Path] = i
	}
	unique := make([]*store.PathInfo, 0, len(last))
	for i, info := range infos {
		if last[info.Path] == i {
			unique = append(unique, info)
		}
	}
	return s.RegisterOutputs(ctx, unique)
}
