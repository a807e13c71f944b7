package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// A RealisationLister lists the realisations of a store. The ID of each has the hash or the path of
// the derivation, as the store keeps it: an output that is kept under both comes twice. An output
// path need not be valid. If some realisations cannot be read, the error is a [*RealisationsError],
// and the others are returned, too.
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

// A RealisationsError reports the realisations that a [RealisationLister] could not read, such as
// damaged files of a cache.
type RealisationsError struct{ Failed []error }

func (e *RealisationsError) Error() string {
	var parts []string
	for _, err := range e.Failed[:min(len(e.Failed), namedFailures)] {
		parts = append(parts, err.Error())
	}
	if more := len(e.Failed) - namedFailures; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more failed", more))
	}
	return strings.Join(parts, "; ")
}

// Unwrap returns the reasons.
func (e *RealisationsError) Unwrap() []error { return e.Failed }
