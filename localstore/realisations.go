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

// A RealisationConflictError reports that another path is registered for an output.
type RealisationConflictError struct {
	ID            string // of the output, as Nix prints it
	Local, Remote storepath.Path
}

func (e *RealisationConflictError) Error() string {
	return fmt.Sprintf("Trying to register a realisation of '%s', but we already have another one locally.\nLocal:  %s\nRemote: %s", e.ID, e.Local, e.Remote)
}

// DrvHash returns the modulo hash of a valid derivation. Nix up to 2.34 stores realisations under this hash.
func (s *Store) DrvHash(ctx context.Context, drv storepath.Path) (nixhash.Hash, error) {
	o := s.newOutputReader()
	defer o.close()
	d, err := o.loadValid(ctx, drv)
	if err != nil {
		return nixhash.Hash{}, err
	}
	return o.hash(ctx, d.Derivation)
}

// QueryRealisation returns the realisation of an output. Its path is not valid if it was deleted. QueryRealisation returns
// [store.ErrNotFound] if no realisation is known.
//
// It searches under the hash and the path of the derivation. If the derivation is valid, it also searches under the hash
// that follows from it, and under the path of the resolved derivation.
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

// computed returns the realisation that is stored under the hash or the resolved path of a valid derivation. If there is
// none, it returns known.
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

// RegisterDrvOutput registers a realisation. It adds the signatures to existing ones, and does not verify them. It returns a
// [*RealisationConflictError] if another path is registered for the output.
//
// RegisterDrvOutput stores the realisation in two tables. For the table of Nix up to 2.34, the path must be valid, and
// the hash is computed if the ID has none and the derivation is valid. In the table of later versions, the ID contains
// the path of the resolved derivation: RegisterDrvOutput resolves a valid derivation if the outputs that it needs are
// known.
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
		return fmt.Errorf("cannot register a realisation of output '%s': it has no derivation", r.ID.Output)
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

// traceID returns an ID with the hash and the path of the resolved derivation, if they are known.
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
