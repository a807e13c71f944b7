package localstore

import (
	"context"
	"time"

	"pix/localstore/internal/nixdb"
	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

// Step 4 of adding an object: make its path valid, in one transaction.

// register makes paths valid, all or none. Their objects are in place, and their infos were checked. It returns a
// [*store.MissingReferenceError] if a reference is neither valid nor among the paths, and a
// [*store.ReferenceCycleError] if the paths refer to each other in a cycle. With update, it also changes the info of
// paths that are already valid. It reports whether all paths were invalid before.
//
// The paths are temporary roots. If the roots were lost at any time since roots was returned, a collector may have
// deleted the objects, so register returns [temproots.ErrLost]. It makes this check within the transaction: a
// collector that has read the database before this transaction has started before the check, and so it knows the
// roots.
func (s *Store) register(ctx context.Context, roots temproots.Held, update bool, infos ...*store.PathInfo) (added bool, err error) {
	return s.registerWith(ctx, roots, update, nil, infos...)
}

// registerWith is [Store.register]. texts are the contents of derivations whose paths follow from
// them, which need not be read again.
func (s *Store) registerWith(ctx context.Context, roots temproots.Held, update bool, texts map[storepath.Path]string, infos ...*store.PathInfo) (added bool, err error) {
	if len(infos) > 1 {
		if _, err := store.SortByReferences(infos); err != nil {
			return false, err
		}
	}
	outputs, err := s.outputsOfAll(ctx, infos, texts)
	if err != nil {
		return false, err
	}
	release := func() {}
	err = s.write(ctx, func(c *conn) (err error) {
		if added, err = c.register(infos, outputs, update); err != nil {
			return err
		}
		release, err = roots.Keep()
		return err
	})
	release()
	return added && err == nil, err
}

// outputsOfAll returns the outputs of the derivations among the paths. See [Store.registerWith] for texts.
func (s *Store) outputsOfAll(ctx context.Context, infos []*store.PathInfo, texts map[storepath.Path]string) (map[storepath.Path][]output, error) {
	byPath := make(map[storepath.Path]*store.PathInfo, len(infos))
	for _, info := range infos {
		byPath[info.Path] = info
	}
	outputs := make(map[storepath.Path][]output)
	for _, info := range infos {
		if !info.Path.IsDerivation() {
			continue
		}
		var err error
		if outputs[info.Path], err = s.derivationOutputs(ctx, info.Path, byPath, texts); err != nil {
			return nil, err
		}
	}
	return outputs, nil
}

// register writes infos, and the outputs of derivations, to the database, within a transaction. Without update, it does
// not change paths that are already valid. It reports whether all paths were invalid before.
func (c *conn) register(infos []*store.PathInfo, outputs map[storepath.Path][]output, update bool) (added bool, err error) {
	db := (*nixdb.Conn)(c)
	added = true
	ids := make([]int64, len(infos)) // 0 if the path stays as it is
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
		case err == nil && update:
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
