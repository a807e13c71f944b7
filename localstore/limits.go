package localstore

import (
	"pix/derivation"
	"pix/store"
)

// ClosureLimits implements [store.Limiter]: what is in the database was checked when it was added.
func (s *Store) ClosureLimits() (store.Limits, store.Store) { return derivation.OwnLimits(), s }

// ClosureLimits implements [store.Limiter].
func (d *drvStore) ClosureLimits() (store.Limits, store.Store) { return derivation.OwnLimits(), d }
