package store

import (
	"context"
	"errors"
	"fmt"

	"pix/derivation"
	"pix/storepath"
)

// A TextAdder is a [Store] to which texts can be added.
type TextAdder interface {
	// AddTextToStore adds a file with those contents and references, as
	// builtins.toFile does, and returns its path.
	AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error)
}

// A Builder is a [Store] that builds.
type Builder interface {
	// BuildPaths makes the paths valid, by building or by substitution. The error is
	// a [*BuildError] if that failed.
	BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode BuildMode) error
}

// An OutputQuerier is a [Store] that knows the outputs of its derivations.
type OutputQuerier interface {
	// QueryDerivationOutputMap returns the outputs of a derivation by name. An output
	// whose path is not known yet has "".
	QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error)
}

// As returns the first of s and the stores that it wraps which is a T. A store wraps
// another if it has a method Unwrap that returns it.
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

// An UnsupportedError says what a store cannot do, because it has none of the capabilities of this
// package that are needed. It is [errors.ErrUnsupported].
type UnsupportedError struct {
	Store Store
	What  string // such as "build"
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("a store of type %T cannot %s: %v", e.Store, e.What, errors.ErrUnsupported)
}

// Unwrap returns [errors.ErrUnsupported].
func (e *UnsupportedError) Unwrap() error { return errors.ErrUnsupported }

// unsupported says what s cannot do.
func unsupported(s Store, what string) error { return &UnsupportedError{s, what} }

// AddText adds a text to s; see [TextAdder].
func AddText(ctx context.Context, s Store, name, contents string, references []storepath.Path) (storepath.Path, error) {
	if t, ok := As[TextAdder](s); ok {
		return t.AddTextToStore(ctx, name, contents, references)
	}
	return "", unsupported(s, "add texts")
}

// BuildPaths builds paths in s; see [Builder]. In a store that does not build it succeeds if all
// are there already, and else the error is a [*BuildError], too.
func BuildPaths(ctx context.Context, s Store, paths []derivation.DerivedPath, mode BuildMode) error {
	if b, ok := As[Builder](s); ok {
		return b.BuildPaths(ctx, paths, mode)
	}
	return checkPresent(ctx, s, paths, mode)
}

// OutputMap returns the outputs of a derivation in s; see [OutputQuerier].
func OutputMap(ctx context.Context, s Store, drv storepath.Path) (map[string]storepath.Path, error) {
	if q, ok := As[OutputQuerier](s); ok {
		return q.QueryDerivationOutputMap(ctx, drv)
	}
	return nil, unsupported(s, "say which outputs a derivation has")
}
