package store

import (
	"context"
	"errors"
	"fmt"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// A DrvOutput names an output of a derivation in questions about realisations. Stores and daemons
// up to Nix 2.34 know the derivation by Hash, later ones (with the feature
// realisation-with-path-not-hash) by Path. Callers that set both can ask either.
//
// The hash follows from the path if the whole closure of the derivation is available: see [DrvHash].
// The path does not follow from the hash.
type DrvOutput struct {
	// Path is the path of the derivation. Nix from 2.35 on has realisations of resolved
	// derivations only. A resolved derivation has the paths of the outputs of its inputs instead of input
	// derivations (see [derivation.Derivation.Resolve]).
	Path   storepath.Path
	Hash   nixhash.Hash // the derivation's modulo hash
	Output string
}

// A KeyedRealisation is a [Realisation] and the output that it is of.
type KeyedRealisation struct {
	ID DrvOutput
	Realisation
}

// DrvHash returns the modulo hash of a derivation in s, by which Nix up to 2.34 knows its realisations. If s is
// no [DrvHasher], it reads the closure of the derivation. The error is that of s, or of
// [derivation.LoadClosure].
func DrvHash(ctx context.Context, s Store, drv storepath.Path) (nixhash.Hash, error) {
	if h, ok := As[DrvHasher](s); ok {
		return h.DrvHash(ctx, drv)
	}
	closure, err := derivation.LoadClosure(ctx, Derivations(s), []storepath.Path{drv}, &derivation.ClosureOptions{ForHashes: true})
	if err != nil {
		return nixhash.Hash{}, err
	}
	if err := closure.Hash(ctx); err != nil {
		return nixhash.Hash{}, err
	}
	h, err := closure.HashModulo(drv, derivation.ForOutputs)
	return h.Hash, err
}

// QueryRealisation returns the path that an output has got in s; see [RealisationStore]. If s needs the hash
// of the derivation and only its path is given, the hash is computed by [DrvHash].
func QueryRealisation(ctx context.Context, s Store, output DrvOutput) (*Realisation, error) {
	registry, ok := As[RealisationStore](s)
	if !ok {
		return nil, unsupported(s, "tell the paths of outputs")
	}
	r, err := registry.QueryRealisation(ctx, output)
	if hashed, failed := withHash(ctx, s, output, err); failed != nil {
		return nil, failed
	} else if hashed != output {
		return registry.QueryRealisation(ctx, hashed)
	}
	return r, err
}

// RegisterRealisation notes in s which path an output has got; see [RealisationStore]. A missing hash is
// computed as by [QueryRealisation].
func RegisterRealisation(ctx context.Context, s Store, r KeyedRealisation) error {
	registry, ok := As[RealisationStore](s)
	if !ok {
		return unsupported(s, "note the paths of outputs")
	}
	err := registry.RegisterDrvOutput(ctx, r)
	if hashed, failed := withHash(ctx, s, r.ID, err); failed != nil {
		return failed
	} else if hashed != r.ID {
		r.ID = hashed
		return registry.RegisterDrvOutput(ctx, r)
	}
	return err
}

// withHash returns an output with the hash of its derivation, if err says that s needs it and if it can
// be computed.
func withHash(ctx context.Context, s Store, id DrvOutput, err error) (DrvOutput, error) {
	unnamed, ok := errors.AsType[*UnnamedOutputError](err)
	if !ok || unnamed.Lacks != "hash" || id.Path == "" {
		return id, nil
	}
	id.Hash, err = DrvHash(ctx, s, id.Path)
	return id, err
}

// ResolvedPath returns the path of a derivation with its inputs replaced by the paths of their outputs, by which Nix
// from 2.35 on knows its realisations. outputOf returns the path of an output of an input. If it returns "" or
// [ErrNotFound] for one of them, ResolvedPath returns "".
func ResolvedPath(d *derivation.Derivation, outputOf func(input derivation.SingleDerivedPath, output string) (storepath.Path, error)) (storepath.Path, error) {
	var failed error
	r, err := d.Resolve(func(input derivation.SingleDerivedPath, output string) (storepath.Path, bool) {
		path, err := outputOf(input, output)
		if err != nil && !errors.Is(err, ErrNotFound) && failed == nil {
			failed = err
		}
		return path, path != "" && err == nil
	})
	switch _, unknown := errors.AsType[*derivation.UnresolvedError](err); {
	case failed != nil:
		return "", failed
	case unknown:
		return "", nil
	case err != nil:
		return "", err
	}
	return r.Path()
}

// An UnnamedOutputError says that an output lacks the name by which a store knows its derivation. It is
// [errors.ErrUnsupported].
type UnnamedOutputError struct {
	Output string
	Lacks  string // "hash" or "path"
}

func (e *UnnamedOutputError) Error() string {
	return fmt.Sprintf("output %s is known by the %s of its derivation, which is missing", e.Output, e.Lacks)
}

// Is reports whether target is [errors.ErrUnsupported].
func (e *UnnamedOutputError) Is(target error) bool { return target == errors.ErrUnsupported }

// A DrvHasher is a [Store] that computes the hash by which others know the realisations of a valid
// derivation.
type DrvHasher interface {
	DrvHash(ctx context.Context, drv storepath.Path) (nixhash.Hash, error)
}
