package store

import (
	"context"
	"errors"
	"fmt"

	"pix/derivation"
	"pix/storepath"
)

// OutputMap returns the outputs of a derivation in s; see [OutputQuerier]. If s is none, such as a binary cache, OutputMap reads the
// derivation. It then asks s for the realisations of floating outputs.
func OutputMap(ctx context.Context, s Store, drv storepath.Path) (map[string]storepath.Path, error) {
	if q, ok := As[OutputQuerier](s); ok {
		return q.QueryDerivationOutputMap(ctx, drv)
	}
	if _, ok := As[NARReader](s); !ok {
		return nil, unsupported(s, "list the outputs of a derivation")
	}
	if !drv.IsDerivation() {
		return nil, fmt.Errorf("path '%s' is not a store derivation", drv)
	}
	d, err := ReadDerivation(ctx, s, drv)
	if err != nil {
		return nil, err
	}
	outputs := make(map[string]storepath.Path, d.Outputs.Len())
	floating := false
	for name, output := range d.Outputs.All() {
		floating = floating || output.Kind() == derivation.Floating
		outputs[name] = output.Path()
		if output.Path() == "" {
			continue
		}
		if _, err := s.Dir().Parse(string(output.Path())); err != nil {
			return nil, fmt.Errorf("derivation '%s': output '%s': %w", drv, name, err)
		}
	}
	if !floating {
		return outputs, nil
	}
	return outputs, addRealised(ctx, s, drv, d, outputs)
}

// addRealised sets the paths of the floating outputs of a derivation that s knows. It does not resolve the derivation: the inputs may
// have floating outputs, too, and the number of queries would grow exponentially with the depth.
func addRealised(ctx context.Context, s Store, drv storepath.Path, d *derivation.Derivation, outputs map[string]storepath.Path) error {
	hash, err := DrvHash(ctx, s, drv)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	for name, output := range d.Outputs.All() {
		if output.Kind() != derivation.Floating {
			continue
		}
		r, err := QueryRealisation(ctx, s, DrvOutput{Path: drv, Hash: hash, Output: name})
		if _, unnamed := errors.AsType[*UnnamedOutputError](err); unnamed || errors.Is(err, ErrNotFound) || errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if err != nil {
			return err
		}
		outputs[name] = r.OutPath
	}
	return nil
}
