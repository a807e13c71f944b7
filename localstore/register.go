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
	added = true
	ids := make([]int64, len(infos)) // of those whose references are to be noted
	now := time.Now()
	for i, info := range infos {
		if info.RegistrationTime.IsZero() {
			own := *info
			own.RegistrationTime = now
			info = &own
		}
		id, isNew, err := c.insertInfo(info)
		switch {
		case isNew:
			err = c.insertOutputs(id, outputs[info.Path])
		case err == nil && change:
			if err = c.updateInfo(info); err == nil {
				id, _, err = c.pathID(info.Path)
			}
		}
		if err != nil {
			return false, err
		}
		ids[i], added = id, added && isNew
		(*nixdb.Conn)(c).Registered(info, isNew)
	}
	for i, info := range infos {
		if ids[i] == 0 {
			continue
		}
		for _, ref := range info.References {
			if err := c.insertReference(ids[i], ref); err != nil {
				return false, err
			}
		}
	}
	return added, nil
}

// insertInfo makes a path valid, unless it is already.
func (c *conn) insertInfo(info *store.PathInfo) (id int64, added bool, err error) {
	err = c.exec(`insert or ignore into ValidPaths (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca)
		values (?, ?, ?, ?, ?, ?, ?, ?)`,
		string(info.Path), info.NARHash.WithBase16(), info.RegistrationTime.Unix(), orNull(string(info.Deriver)),
		sizeOrNull(info.NARSize), ultimateOrNull(info.Ultimate), orNull(joinSignatures(info.Signatures)), orNull(info.CA.String()))
	if err != nil || c.changes() == 0 {
		return 0, false, err
	}
	return c.lastID(), true, nil
}

// insertReference notes that a path refers to one that must be valid.
func (c *conn) insertReference(referrer int64, reference storepath.Path) error {
	err := c.exec("insert or ignore into Refs (referrer, reference) values (?, (select id from ValidPaths where path = ?))", referrer, string(reference))
	if err != nil || c.changes() > 0 {
		return err
	}
	_, valid, err := c.pathID(reference) // or it is noted already
	if err == nil && !valid {
		err = notFound(reference)
	}
	return err
}

// updateInfo changes what is known of a valid path, but for its deriver and the time of its
// registration.
func (c *conn) updateInfo(info *store.PathInfo) error {
	return c.exec("update ValidPaths set narSize = ?, hash = ?, ultimate = ?, sigs = ?, ca = ? where path = ?",
		sizeOrNull(info.NARSize), info.NARHash.WithBase16(), ultimateOrNull(info.Ultimate),
		orNull(joinSignatures(info.Signatures)), orNull(info.CA.String()), string(info.Path))
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func sizeOrNull(size uint64) any {
	if size == 0 {
		return nil
	}
	return int64(size)
}

func ultimateOrNull(ultimate bool) any {
	if !ultimate {
		return nil
	}
	return int64(1)
}
