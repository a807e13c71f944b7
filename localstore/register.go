package localstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pix/localstore/internal/nixdb"
	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

// registerValidPaths makes paths valid, all or none, or changes what is known of those that
// are. Their objects are in place and canonical. What they refer to must be valid, or among
// them; the error is a [*store.NotFoundError] if it is not, and a
// [*store.ReferenceCycleError] if they refer to each other in a circle.
func (s *Store) registerValidPaths(ctx context.Context, infos ...*store.PathInfo) error {
	_, err := s.register(ctx, temproots.Held{}, true, infos...)
	return err
}

// register is registerValidPaths, but changes nothing of those that are valid already unless it is to.
// It reports whether none was valid.
//
// The paths are temporary roots. If they were not all the time, a collector may have deleted objects
// that were in place, so nothing is registered, and the error is [temproots.ErrLost]. The check is made
// within the transaction: a collector that finds a path invalid before that has begun before the
// check, and so it knew the roots.
func (s *Store) register(ctx context.Context, roots temproots.Held, change bool, infos ...*store.PathInfo) (added bool, err error) {
	for _, info := range infos {
		if err := s.checkInfo(info); err != nil {
			return false, err
		}
	}
	if len(infos) > 1 {
		if _, err := store.SortByReferences(infos); err != nil {
			return false, err
		}
	}
	among := make(map[storepath.Path]*store.PathInfo, len(infos))
	for _, info := range infos {
		among[info.Path] = info
	}
	outputs := make(map[storepath.Path][]output)
	for _, info := range infos {
		if info.Path.IsDerivation() {
			if outputs[info.Path], err = s.derivationOutputs(ctx, info.Path, among); err != nil {
				return false, err
			}
		}
	}
	release := func() {}
	err = s.write(ctx, func(c *conn) (err error) {
		if added, err = c.register(infos, outputs, change); err != nil {
			return err
		}
		release, err = roots.Keep()
		return err
	})
	release()
	return added && err == nil, err
}

// checkInfo returns why a path info can be none of this store, whatever else is in it.
func (s *Store) checkInfo(info *store.PathInfo) error {
	for _, p := range slices.Concat([]storepath.Path{info.Path}, info.References) {
		if _, err := s.dir.Parse(string(p)); err != nil {
			return err
		}
	}
	if info.Deriver != "" {
		if _, err := s.dir.Parse(string(info.Deriver)); err != nil {
			return err
		}
	}
	if !info.CA.IsZero() && !info.IsContentAddressed() {
		return fmt.Errorf("cannot add path '%s' to the Nix store because it claims to be content-addressed but isn't", info.Path)
	}
	return nil
}

// register writes infos, and the outputs of those that are derivations, into the database, within a
// transaction. What is valid already stays as it is unless it is to be changed. It reports
// whether none was.
func (c *conn) register(infos []*store.PathInfo, outputs map[storepath.Path][]output, change bool) (added bool, err error) {
	db := (*nixdb.Conn)(c)
	added = true
	ids := make([]int64, len(infos)) // of those whose references are to be noted
	now := time.Now()
	for i, info := range infos {
		if info.RegistrationTime.IsZero() {
			own := *info
			own.RegistrationTime = now
			info = &own
		}
		id, isNew, err := db.InsertPath(info)
		switch {
		case isNew:
			err = c.insertOutputs(id, outputs[info.Path])
		case err == nil && change:
			if err = db.UpdatePath(info); err == nil {
				id, _, err = db.PathID(info.Path)
			}
		}
		if err != nil {
			return false, err
		}
		ids[i], added = id, added && isNew
		db.Registered(info, isNew)
	}
	for i, info := range infos {
		if ids[i] == 0 {
			continue
		}
		for _, ref := range info.References {
			valid, err := db.InsertReference(ids[i], ref)
			if err == nil && !valid {
				err = &store.MissingReferenceError{Path: info.Path, Reference: ref}
			}
			if err != nil {
				return false, err
			}
		}
	}
	return added, nil
}
