package localstore

import (
	"context"
	"errors"
	"fmt"

	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// A RealisationConflictError says that an output has got another path already.
type RealisationConflictError struct {
	ID            string // of the output, as Nix spells it
	Local, Remote storepath.Path
}

func (e *RealisationConflictError) Error() string {
	return fmt.Sprintf("Trying to register a realisation of '%s', but we already have another one locally.\nLocal:  %s\nRemote: %s", e.ID, e.Local, e.Remote)
}

// DrvHash returns the modulo hash of a valid derivation, by which Nix up to 2.34 knows its realisations.
func (s *Store) DrvHash(ctx context.Context, drv storepath.Path) (nixhash.Hash, error) {
	o := s.newOutputReader()
	defer o.close()
	d, err := o.loadValid(ctx, drv)
	if err != nil {
		return nixhash.Hash{}, err
	}
	return o.hash(ctx, d.Derivation)
}

// QueryRealisation returns the path that an output has got, which is not valid if it was deleted. The error
// is [store.ErrNotFound] if it is not known.
//
// The realisation is looked for under the hash and under the path of the derivation. If the derivation is
// valid, it is also looked for under the hash that follows from the path, and under the path of the
// resolved derivation.
func (s *Store) QueryRealisation(ctx context.Context, output store.DrvOutput) (*store.Realisation, error) {
	o := s.newOutputReader()
	defer o.close()
	r, valid, err := o.stored(ctx, output)
	if err == nil && !valid && output.Path != "" {
		r, err = o.computed(ctx, output, r)
	}
	if err == nil && r == nil {
		err = fmt.Errorf("output '%s' has no known path: %w", output.ID(), store.ErrNotFound)
	}
	return r, err
}

// computed returns the realisation that is stored under the names that follow from a valid derivation, or
// else known.
func (o *outputReader) computed(ctx context.Context, id store.DrvOutput, known *store.Realisation) (*store.Realisation, error) {
	d, err := o.loadValid(ctx, id.Path)
	if known != nil && errors.Is(err, store.ErrNotFound) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := o.realisation(ctx, d, id.Output)
	if r == nil && err == nil {
		r = known
	}
	return r, err
}

// RegisterDrvOutput notes which path an output has got. Signatures are added to those that are there, and
// not verified. Another path than the one that is known is a [*RealisationConflictError].
//
// Under the hash of the derivation, the path must be valid. If the hash is not given, it is
// computed from the derivation, if that is valid. Under the path, only resolved derivations have
// realisations: in place of another one that is valid, the resolved derivation is meant, if all outputs
// that it needs are known.
func (s *Store) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	signatures := make([]string, len(r.Signatures))
	for i, text := range r.Signatures {
		var err error
		if signatures[i], err = signature.Canonical(text); err != nil {
			return err
		}
	}
	r.Signatures = signatures
	id, err := s.traceID(ctx, r.ID)
	if err != nil {
		return err
	}
	if id.Hash.IsZero() && id.Path == "" {
		return fmt.Errorf("registering a realisation of output '%s': it does not say of which derivation", r.ID.Output)
	}
	return s.write(ctx, func(c *conn) error {
		if !id.Hash.IsZero() {
			if err := c.registerRealisation(s.dir, id.Hash, id.Output, &r.Realisation); err != nil {
				return err
			}
		}
		if id.Path != "" {
			return c.registerBuildTrace(s.dir, id.Path, id.Output, &r.Realisation)
		}
		return nil
	})
}

// traceID returns the hash, if it is known, and the path of the resolved derivation, if it is known, under
// which an output is registered.
func (s *Store) traceID(ctx context.Context, id store.DrvOutput) (store.DrvOutput, error) {
	if id.Path == "" {
		return id, nil
	}
	o := s.newOutputReader()
	defer o.close()
	d, err := o.loadValid(ctx, id.Path)
	if errors.Is(err, store.ErrNotFound) {
		return id, nil
	}
	if err != nil {
		return id, err
	}
	if id.Hash.IsZero() {
		if id.Hash, err = o.hash(ctx, d.Derivation); err != nil {
			return id, err
		}
	}
	id.Path, err = o.resolved(ctx, d)
	return id, err
}
