package localstore

import (
	"context"
	"errors"
	"fmt"

	"pix/store"
	"pix/storepath"
)

// repairPath replaces the object of a valid path by that of another store. If that is
// another one than was added here, a trusted key must have signed it, unless the path follows from
// the contents.
func (s *Store) repairPath(ctx context.Context, other store.Store, path storepath.Path) error {
	err := s.takeFrom(ctx, other, path)
	if err != nil {
		return fmt.Errorf("cannot repair path '%s': %w", path, err)
	}
	return nil
}

func (s *Store) takeFrom(ctx context.Context, other store.Store, path storepath.Path) error {
	if other == nil {
		return errNoRepairs
	}
	ours, err := s.QueryPathInfo(ctx, path)
	if err != nil {
		return err
	}
	theirs, err := other.QueryPathInfo(ctx, path)
	if err != nil {
		return err
	}
	archive, err := store.ReadNAR(ctx, other, path)
	if err != nil {
		return err
	}
	same := theirs.NARHash == ours.NARHash
	if same {
		ours.NARSize = theirs.NARSize // which very old databases do not have
		theirs = ours
	}
	err = s.AddToStoreNAR(ctx, theirs, archive, &store.AddOptions{Repair: true, NoSignatures: same})
	return errors.Join(err, archive.Close())
}
