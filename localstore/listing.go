package localstore

import (
	"context"

	"pix/nar"
	"pix/storepath"
)

// Listing returns the files in an object from the file system, without reading their contents. So it does not notice
// that contents have changed: to be certain, read the archive. The error is a [*store.NotFoundError] if the path is not
// valid, or an error of [nar.ListPath].
func (s *Store) Listing(ctx context.Context, path storepath.Path) (*nar.Listing, error) {
	if _, err := s.QueryPathInfo(ctx, path); err != nil {
		return nil, err
	}
	return nar.ListPath(ctx, s.object(path), nil)
}
