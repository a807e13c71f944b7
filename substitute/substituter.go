package substitute

import (
	"context"
	"strings"

	"pix/binarycache"
	"pix/narinfo"
	"pix/store"
	"pix/storepath"
)

// A Substituter is a store from which others get what they lack.
type Substituter struct {
	Store store.Store
	URI   string // for people

	// Priority says which is asked first: the one with the lowest. Of equal ones the first is.
	Priority int

	// WantMassQuery says that it may be asked about many paths that are perhaps not wanted at
	// all: see [Store.QuerySubstitutablePaths].
	WantMassQuery bool

	// Trusted says that nothing of it needs a signature.
	Trusted bool
}

// NewSubstituter returns a store as a substituter. A binary cache says itself how it wants to be used;
// all others are asked first, and not about many paths, as in Nix.
func NewSubstituter(s store.Store, uri string) Substituter {
	sub := Substituter{Store: s, URI: uri}
	if cache, ok := store.As[*binarycache.Store](s); ok {
		info := cache.Info()
		sub.URI = strings.TrimSuffix(cache.URI(), "/") // as Nix names it
		sub.Priority, sub.WantMassQuery = info.Priority, info.WantMassQuery
	}
	return sub
}

// query returns what the substituter says of a path, and how many bytes it takes to get it, 0 if
// that is unknown.
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
