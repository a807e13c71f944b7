package store

import (
	"context"
	"io"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// AllValidPaths returns the valid paths of s; see [AllPathsQuerier].
func AllValidPaths(ctx context.Context, s Store) ([]storepath.Path, error) {
	if q, ok := As[AllPathsQuerier](s); ok {
		return q.QueryAllValidPaths(ctx)
	}
	return nil, unsupported(s, "list its paths")
}

// Referrers returns the valid paths that refer to path; see [ReferrerQuerier].
func Referrers(ctx context.Context, s Store, path storepath.Path) ([]storepath.Path, error) {
	if q, ok := As[ReferrerQuerier](s); ok {
		return q.QueryReferrers(ctx, path)
	}
	return nil, unsupported(s, "say what refers to a path")
}

// ValidDerivers returns the valid derivations that have path as an output; see
// [DeriverQuerier].
func ValidDerivers(ctx context.Context, s Store, path storepath.Path) ([]storepath.Path, error) {
	if q, ok := As[DeriverQuerier](s); ok {
		return q.QueryValidDerivers(ctx, path)
	}
	return nil, unsupported(s, "say which derivations have a path")
}

// SubstitutablePaths returns those paths that the substituters of s have; see
// [SubstituteQuerier].
func SubstitutablePaths(ctx context.Context, s Store, paths []storepath.Path) ([]storepath.Path, error) {
	if q, ok := As[SubstituteQuerier](s); ok {
		return q.QuerySubstitutablePaths(ctx, paths)
	}
	return nil, unsupported(s, "ask substituters")
}

// QueryMissing returns what it would take to make paths valid in s; see [MissingQuerier].
func QueryMissing(ctx context.Context, s Store, paths []derivation.DerivedPath) (*Missing, error) {
	if q, ok := As[MissingQuerier](s); ok {
		return q.QueryMissing(ctx, paths)
	}
	return nil, unsupported(s, "say what is missing")
}

// Roots returns what keeps paths of s from being collected; see [Rooter].
func Roots(ctx context.Context, s Store) ([]Root, error) {
	if r, ok := As[Rooter](s); ok {
		return r.FindRoots(ctx)
	}
	return nil, unsupported(s, "say what its roots are")
}

// CollectGarbage collects garbage in s; see [Collector].
func CollectGarbage(ctx context.Context, s Store, opts GCOptions) (*GCResult, error) {
	if c, ok := As[Collector](s); ok {
		return c.CollectGarbage(ctx, opts)
	}
	return nil, unsupported(s, "collect garbage")
}

// Optimise makes equal files in s one; see [Optimiser].
func Optimise(ctx context.Context, s Store) error {
	if o, ok := As[Optimiser](s); ok {
		return o.OptimiseStore(ctx)
	}
	return unsupported(s, "make equal files one")
}

// Verify checks the contents of s, and reports whether errors remain; see [Verifier].
func Verify(ctx context.Context, s Store, checkContents, repair bool) (errorsRemain bool, err error) {
	if v, ok := As[Verifier](s); ok {
		return v.VerifyStore(ctx, checkContents, repair)
	}
	return false, unsupported(s, "check its contents")
}

// AddSignatures gives signatures to a path of s; see [Signer].
func AddSignatures(ctx context.Context, s Store, path storepath.Path, signatures []string) error {
	if k, ok := As[Signer](s); ok {
		return k.AddSignatures(ctx, path, signatures)
	}
	return unsupported(s, "keep signatures")
}

// BuildPathsWithResults builds paths in s, and says how each ended; see [ResultBuilder]. A store that
// does not build says of each whether it is there; see [PresentResult].
func BuildPathsWithResults(ctx context.Context, s Store, paths []derivation.DerivedPath, mode BuildMode) ([]KeyedBuildResult, error) {
	if b, ok := As[ResultBuilder](s); ok {
		return b.BuildPathsWithResults(ctx, paths, mode)
	}
	if _, builds := As[Builder](s); builds {
		return nil, unsupported(s, "say how builds ended")
	}
	return presentResults(ctx, s, paths, mode)
}

// Add adds an object to s by its contents; see [Adder].
func Add(ctx context.Context, s Store, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *AddOptions) (*PathInfo, error) {
	if adder, ok := As[Adder](s); ok {
		return adder.AddToStore(ctx, name, m, a, references, contents, opts)
	}
	return nil, unsupported(s, "add objects by their contents")
}
