package store

import (
	"cmp"
	"context"
	"slices"
)

// A RealisationLister lists the realisations of a store. The ID of each has the hash or the path of
// the derivation, as the store keeps it: an output that is kept under both comes twice. An output
// path need not be valid.
type RealisationLister interface {
	QueryAllRealisations(ctx context.Context) ([]KeyedRealisation, error)
}

// AllRealisations returns the realisations of s, sorted by ID; see [RealisationLister].
func AllRealisations(ctx context.Context, s Store) ([]KeyedRealisation, error) {
	l, ok := As[RealisationLister](s)
	if !ok {
		return nil, unsupported(s, "list its realisations")
	}
	all, err := l.QueryAllRealisations(ctx)
	slices.SortFunc(all, func(a, b KeyedRealisation) int { return cmp.Compare(a.ID.ID(), b.ID.ID()) })
	return all, err
}
