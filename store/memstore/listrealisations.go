package memstore

import (
	"context"

	"pix/nixhash"
	"pix/store"
)

// QueryAllRealisations returns the realisations, under the hashes and the paths of their derivations.
func (s *Store) QueryAllRealisations(context.Context) ([]store.KeyedRealisation, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]store.KeyedRealisation, 0, len(s.realisations))
	for key, r := range s.realisations {
		one := store.KeyedRealisation{
			ID:          store.DrvOutput{Output: key.output},
			Realisation: store.Realisation{OutPath: r.OutPath, Signatures: union(r.Signatures, nil)},
		}
		if path, err := s.Dir().Parse(key.drv); err == nil {
			one.ID.Path = path
		} else if one.ID.Hash, err = nixhash.Parse(key.drv); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}
