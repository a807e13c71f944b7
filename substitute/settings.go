package substitute

import (
	"cmp"
	"context"
	"strings"
	"time"

	"pix/binarycache"
	"pix/derivation"
	"pix/narinfo"
	"pix/signature"
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

// Settings configure one call. The zero value has no substituters.
type Settings struct {
	// Substituters are asked in the order of their priorities.
	Substituters []Substituter

	// TrustedKeys are the accepted keys. One of them must have signed a path that is not content-addressed:
	// Nix's trusted-public-keys.
	TrustedKeys signature.KeySet

	// NoSignatures accepts every path without a signature. It is the opposite of Nix's require-sigs.
	NoSignatures bool

	// UnsignedRealisations accepts the realisations of every substituter without a signature.
	// NoSignatures implies it.
	UnsignedRealisations bool

	// Fallback treats a substituter that fails like one that does not have the path: Nix's fallback.
	Fallback bool

	// AlwaysAllowed substitutes outputs even if their derivation has allowSubstitutes = false: Nix's
	// always-allow-substitutes.
	AlwaysAllowed bool

	// KeepGoing continues with the other paths after one is not available: Nix's keep-going.
	KeepGoing bool
}

// Options configure a [Store].
type Options struct {
	// Settings returns the settings of a call with the given context. It is called once per call, when
	// a path is first found missing, and it may block: it can open the substituters, see [Sources].
	Settings func(ctx context.Context) (*Settings, error)

	// Sources are closed together with the store, unless they are nil.
	Sources *Sources

	// StallTimeout is how long a call waits for the next answer or the next bytes of a substituter other
	// than a binary cache, which has timeouts of its own. 0 is 5 minutes.
	StallTimeout time.Duration

	// Limits bound the infos that substituters may send in one call: see [store.Limits]. Nil means
	// [derivation.ForeignLimits].
	Limits *store.Limits
}

// stallTimeout returns the StallTimeout of the options or its default.
func (o *Options) stallTimeout() time.Duration { return cmp.Or(o.StallTimeout, 5*time.Minute) }

// limits returns the Limits of the options or their default.
func (o *Options) limits() store.Limits {
	if o.Limits != nil {
		return *o.Limits
	}
	return derivation.ForeignLimits()
}
