package localstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pix/store"
	"pix/storepath"
)

// registerValidPaths makes paths valid, all or none, or changes what is known of those that
// are. Their objects are in place and canonical. What they refer to must be valid, or among
// them; the error is a [*store.NotFoundError] if it is not, and a
// [*store.ReferenceCycleError] if they refer to each other in a circle.
func (s *Store) registerValidPaths(ctx context.Context, infos ...*store.PathInfo) error {
	for _, info := range infos {
		if err := s.checkInfo(info); err != nil {
			return err
		}
	}
	if len(infos) > 1 {
		if _, err := store.SortByReferences(infos); err != nil {
			return err
		}
	}
	among := make(map[storepath.Path]*store.PathInfo, len(infos))
	for _, info := range infos {
		among[info.Path] = info
	}
	outputs := make(map[storepath.Path][]output)
	for _, info := range infos {
		if info.Path.IsDerivation() {
			var err error
			if outputs[info.Path], err = s.derivationOutputs(ctx, info.Path, among); err != nil {
				return err
			}
		}
	}
	return s.write(ctx, func(c *conn) error { return c.register(infos, outputs) })
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

// register writes infos, and the outputs of those that are derivations, into the database,
// within a transaction.
func (c *conn) register(infos []*store.PathInfo, outputs map[storepath.Path][]output) error {
	ids := make([]int64, len(infos))
	now := time.Now()
	for i, info := range infos {
		if info.RegistrationTime.IsZero() {
			own := *info
			own.RegistrationTime = now
			info = &own
		}
		id, added, err := c.insertInfo(info)
		if added {
			err = c.insertOutputs(id, outputs[info.Path])
		}
		if err != nil {
			return err
		}
		ids[i] = id
		c.registered = append(c.registered, registered{info, added})
	}
	for i, info := range infos {
		for _, ref := range info.References {
			if err := c.insertReference(ids[i], ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// insertInfo makes a path valid, or changes what is known of one that is.
func (c *conn) insertInfo(info *store.PathInfo) (id int64, added bool, err error) {
	err = c.exec(`insert or ignore into ValidPaths (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca)
		values (?, ?, ?, ?, ?, ?, ?, ?)`,
		string(info.Path), info.NARHash.WithBase16(), info.RegistrationTime.Unix(), orNull(string(info.Deriver)),
		sizeOrNull(info.NARSize), ultimateOrNull(info.Ultimate), orNull(joinSignatures(info.Signatures)), orNull(info.CA.String()))
	if err != nil {
		return 0, false, err
	}
	if c.db.Changes() > 0 {
		return c.db.LastInsertRowID(), true, nil
	}
	if err := c.updateInfo(info); err != nil {
		return 0, false, err
	}
	id, _, err = c.pathID(info.Path)
	return id, false, err
}

// insertReference notes that a path refers to one that must be valid.
func (c *conn) insertReference(referrer int64, reference storepath.Path) error {
	err := c.exec("insert or ignore into Refs (referrer, reference) values (?, (select id from ValidPaths where path = ?))", referrer, string(reference))
	if err != nil || c.db.Changes() > 0 {
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
