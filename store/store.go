package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"pix/derivation"
	"pix/internal/parallel"
	"pix/nixhash"
	"pix/storepath"
)

// A Store knows which paths are valid, and their path infos. All methods except Close may be
// called by any number of goroutines at the same time.
type Store interface {
	// Dir returns the store directory.
	Dir() storepath.Dir

	// IsValidPath reports whether the path is valid.
	IsValidPath(ctx context.Context, path storepath.Path) (bool, error)

	// QueryValidPaths returns the valid paths among the given ones, sorted and without
	// duplicates. With substitute, the store first tries to substitute the others.
	QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error)

	// QueryPathInfo returns the path info of a path. The error is a [*NotFoundError] if the
	// path is not valid.
	QueryPathInfo(ctx context.Context, path storepath.Path) (*PathInfo, error)

	// Close releases the resources of the store. Running calls fail.
	Close() error
}

// ErrNotFound matches every [*NotFoundError].
var ErrNotFound = errors.New("path is not valid")

// A NotFoundError reports that a path is not valid in a store.
type NotFoundError struct {
	Path storepath.Path
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("path '%s' is not valid", e.Path) }

// Is reports whether target is [ErrNotFound].
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// As returns the first store of type T among s and the stores that it wraps. A store wraps the
// store that its method Unwrap returns.
func As[T any](s Store) (t T, ok bool) {
	for s != nil {
		if t, ok = s.(T); ok {
			return t, true
		}
		wrapper, wraps := s.(interface{ Unwrap() Store })
		if !wraps {
			break
		}
		s = wrapper.Unwrap()
	}
	return t, false
}

// An UnsupportedError reports that a store does not have a capability. It matches
// [errors.ErrUnsupported].
type UnsupportedError struct {
	Store Store
	What  string // such as "build"
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("a store of type %T cannot %s", e.Store, e.What)
}

// Unwrap returns [errors.ErrUnsupported].
func (e *UnsupportedError) Unwrap() error { return errors.ErrUnsupported }

// unsupported returns an UnsupportedError of s.
func unsupported(s Store, what string) error { return &UnsupportedError{s, what} }

// AddText adds a text file to s; see [TextAdder].
func AddText(ctx context.Context, s Store, name, contents string, references []storepath.Path) (storepath.Path, error) {
	if t, ok := As[TextAdder](s); ok {
		return t.AddTextToStore(ctx, name, contents, references)
	}
	return "", unsupported(s, "add texts")
}

// BuildPaths builds paths in s; see [Builder]. If s does not build, it succeeds if all outputs
// exist. Otherwise the error is a [*BuildError].
func BuildPaths(ctx context.Context, s Store, paths []derivation.DerivedPath, mode BuildMode) error {
	if b, ok := As[Builder](s); ok {
		return b.BuildPaths(ctx, paths, mode)
	}
	return checkAllPresent(ctx, s, paths, mode)
}

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
	return nil, unsupported(s, "find referrers")
}

// ValidDerivers returns the valid derivations that have path as an output; see
// [DeriverQuerier].
func ValidDerivers(ctx context.Context, s Store, path storepath.Path) ([]storepath.Path, error) {
	if q, ok := As[DeriverQuerier](s); ok {
		return q.QueryValidDerivers(ctx, path)
	}
	return nil, unsupported(s, "find derivers")
}

// SubstitutablePaths returns the paths that a substituter of s has; see [SubstituteQuerier].
func SubstitutablePaths(ctx context.Context, s Store, paths []storepath.Path) ([]storepath.Path, error) {
	if q, ok := As[SubstituteQuerier](s); ok {
		return q.QuerySubstitutablePaths(ctx, paths)
	}
	return nil, unsupported(s, "query substituters")
}

// QueryMissing returns what s would build and substitute to make paths valid; see
// [MissingQuerier].
func QueryMissing(ctx context.Context, s Store, paths []derivation.DerivedPath) (*Missing, error) {
	if q, ok := As[MissingQuerier](s); ok {
		return q.QueryMissing(ctx, paths)
	}
	return nil, unsupported(s, "determine missing paths")
}

// Roots returns the garbage collector roots of s; see [Rooter].
func Roots(ctx context.Context, s Store) ([]Root, error) {
	if r, ok := As[Rooter](s); ok {
		return r.FindRoots(ctx)
	}
	return nil, unsupported(s, "list its roots")
}

// CollectGarbage collects garbage in s; see [Collector].
func CollectGarbage(ctx context.Context, s Store, opts GCOptions) (*GCResult, error) {
	if c, ok := As[Collector](s); ok {
		return c.CollectGarbage(ctx, opts)
	}
	return nil, unsupported(s, "collect garbage")
}

// Optimise replaces identical files in s with hard links; see [Optimiser].
func Optimise(ctx context.Context, s Store) error {
	if o, ok := As[Optimiser](s); ok {
		return o.OptimiseStore(ctx)
	}
	return unsupported(s, "replace identical files with hard links")
}

// Verify checks the contents of s, and reports whether errors remain; see [Verifier].
func Verify(ctx context.Context, s Store, checkContents, repair bool) (errorsRemain bool, err error) {
	if v, ok := As[Verifier](s); ok {
		return v.VerifyStore(ctx, checkContents, repair)
	}
	return false, unsupported(s, "verify its contents")
}

// AddSignatures adds signatures to a path of s; see [Signer].
func AddSignatures(ctx context.Context, s Store, path storepath.Path, signatures []string) error {
	if k, ok := As[Signer](s); ok {
		return k.AddSignatures(ctx, path, signatures)
	}
	return unsupported(s, "store signatures")
}

// BuildPathsWithResults builds paths in s and returns a result for each; see [ResultBuilder].
// If s does not build, it returns the results of [PresentResult].
func BuildPathsWithResults(ctx context.Context, s Store, paths []derivation.DerivedPath, mode BuildMode) ([]KeyedBuildResult, error) {
	if b, ok := As[ResultBuilder](s); ok {
		return b.BuildPathsWithResults(ctx, paths, mode)
	}
	if _, builds := As[Builder](s); builds {
		return nil, unsupported(s, "return build results")
	}
	return presentResults(ctx, s, paths, mode)
}

// Add adds an object with given contents to s; see [Adder].
func Add(ctx context.Context, s Store, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *AddOptions) (*PathInfo, error) {
	if adder, ok := As[Adder](s); ok {
		return adder.AddToStore(ctx, name, m, a, references, contents, opts)
	}
	return nil, unsupported(s, "add objects by their contents")
}

// AddNAR adds an object to s; see [NARAdder].
func AddNAR(ctx context.Context, s Store, info *PathInfo, nar io.Reader, opts *AddOptions) error {
	if a, ok := As[NARAdder](s); ok {
		return a.AddToStoreNAR(ctx, info, nar, opts)
	}
	return unsupported(s, "add objects")
}

// AddMultiple adds n objects to s; see [MultipleAdder]. If s cannot add many at a time, it adds
// them one by one.
func AddMultiple(ctx context.Context, s Store, n int, objects iter.Seq2[Import, error], opts *AddOptions) error {
	if a, ok := As[MultipleAdder](s); ok {
		return a.AddMultipleToStore(ctx, n, objects, opts)
	}
	return AddOneByOne(ctx, n, objects, func(info *PathInfo, archive io.Reader) error {
		return AddNAR(ctx, s, info, archive, opts)
	})
}

// ReadNAR returns the archive of an object in s; see [NARReader].
func ReadNAR(ctx context.Context, s Store, path storepath.Path) (io.ReadCloser, error) {
	if r, ok := As[NARReader](s); ok {
		return r.NARFromPath(ctx, path)
	}
	return nil, unsupported(s, "read the contents of paths")
}

// A PanicError is the value of a panic that functions of this package raise again. They call
// stores, callbacks and handlers on their own goroutines. If one of these panics there, the
// function panics with a PanicError on the goroutine of its caller. If one of these calls
// [runtime.Goexit] there, the function calls it on the goroutine of its caller.
type PanicError = parallel.PanicError

// VerifyFrom verifies s, and repairs it with objects of another store; see [RepairVerifier].
func VerifyFrom(ctx context.Context, s Store, checkContents bool, from Store) (errorsRemain bool, err error) {
	if v, ok := As[RepairVerifier](s); ok {
		return v.VerifyStoreFrom(ctx, checkContents, from)
	}
	return false, unsupported(s, "repair itself with objects of another store")
}
