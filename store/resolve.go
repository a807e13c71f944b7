package store

import (
	"context"
	"fmt"

	"pix/derivation"
	"pix/storepath"
)

// An UnbuiltError reports that the path of an output is unknown, because it depends on a build that has not run. It
// matches [ErrNotFound].
type UnbuiltError struct {
	Drv    derivation.SingleDerivedPath
	Output string
}

func (e *UnbuiltError) Error() string {
	return fmt.Sprintf("cannot operate on output '%s' of the unbuilt derivation '%s'", e.Output, e.Drv)
}

// Is reports whether target is [ErrNotFound].
func (e *UnbuiltError) Is(target error) bool { return target == ErrNotFound }

// ResolvePath returns the store path that a derived path stands for: the path itself, or the path of the output of a
// derivation, which may be an output itself. The result need not be valid. The derivations before it must be.
//
// The error is an [*UnbuiltError] if s does not know the path of an output, and a [*NotFoundError] if a derivation is
// not valid. A derivation that lacks the output is reported in the words of Nix.
func ResolvePath(ctx context.Context, s Store, path derivation.SingleDerivedPath) (storepath.Path, error) {
	var chain []derivation.SingleBuilt // from the last output to the first
	for {
		built, ok := path.(derivation.SingleBuilt)
		if !ok {
			break
		}
		chain, path = append(chain, built), built.Drv
	}
	resolved := path.Base()
	for i := len(chain) - 1; i >= 0; i-- {
		outputs, err := OutputMap(ctx, s, resolved)
		if err != nil {
			return "", err
		}
		out, has := outputs[chain[i].Output]
		switch {
		case !has:
			return "", fmt.Errorf("derivation '%s' does not have an output named '%s'", resolved, chain[i].Output)
		case out == "":
			return "", &UnbuiltError{chain[i].Drv, chain[i].Output}
		}
		resolved = out
	}
	return resolved, nil
}
