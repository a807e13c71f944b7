package substitute

import (
	"context"
	"strings"

	"pix/binarycache"
	"pix/narinfo"
	"pix/store"
	"pix/storepath"
)

// A Substituter is a store from which other stores copy the paths that they lack.
type Substituter struct {
	Store store.Store
	URI   string // as messages print it

	// Priority orders substituters: lower values are asked first, equal ones in the order given.
	Priority int

	// WantMassQuery allows queries about many paths, even if only few are wanted: see
	// [Store.QuerySubstitutablePaths].
	WantMassQuery bool

	// Trusted accepts paths and realisations of this substituter without a signature.
	Trusted bool
}

// NewSubstituter returns a substituter for a store. A binary cache supplies its own priority and
// whether it allows mass queries. Other stores have priority 0 and do not allow them, as in Nix.
func NewSubstituter(s store.Store, uri string) Substituter {
	sub := Substituter{Store: s, URI: uri}
	if cache, ok := store.As[*binarycache.Store](s); ok {
		info := cache.Info()
		sub.URI = strings.TrimSuffix(cache.URI(), "/") // as Nix names it
		sub.Priority, sub.WantMassQuery = info.Priority, info.WantMassQuery
	}
	return sub
}

// query returns the info of a path, and the number of bytes to download for it, or 0 if that is
// unknown.
func (s *Substituter) query(ctx context.Context, path storepath.Path) (info *store.PathInfo, downloadSize uint64, err error) {
	type narInfoer interface {
		NarInfo(ctx context.Context, path storepath.Path) (*narinfo.NarInfo, error)
	}
	cache, ok := store.As[narInfoer](s.Store)
	if !ok {
		info, err = s.Store.QueryPathInfo(ctx, path)
		return info, 0, err
	}
	n, err := cache.NarInfo(ctx, path)
	if err != nil {
		return nil, 0, err
	}
	return &n.PathInfo, n.FileSize, nil
}
