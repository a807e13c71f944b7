package localstore

import (
	"cmp"
	"context"
	"fmt"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// To resolve a derivation, its inputs are resolved first. The whole chain is in memory then. Untrusted users can add
// long chains, so these limits keep the stack and the heap small.
const (
	maxResolving      = 10_000   // derivations
	maxResolvingBytes = 64 << 20 // of their texts
)

// An outputReader finds the paths of outputs of derivations, for one call.
type outputReader struct {
	*drvReader
	own     drvReader
	outputs map[storepath.Path]map[string]storepath.Path // of derivations that were looked at
	traced  bool                                         // whether the store has a build trace

	depth, bytes int // of the derivations that are being resolved
}

// A loaded derivation is one that was read for an outputReader.
type loaded struct {
	*derivation.Derivation
	path storepath.Path
	size int // of its text, in bytes
}

func (s *Store) newOutputReader() *outputReader {
	o := &outputReader{own: drvReader{s: s}, outputs: make(map[storepath.Path]map[string]storepath.Path)}
	o.drvReader = &o.own
	return o
}

// QueryDerivationOutputMap returns the outputs of a valid derivation. Those whose paths are
// known neither from its text nor from a realisation have "". The error is a
// [*store.NotFoundError] if it is not valid.
func (s *Store) QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	o := s.newOutputReader()
	defer o.close()
	return o.outputMap(ctx, drv)
}

// QueryDerivationOutputMap implements [store.OutputQuerier].
func (d *drvStore) QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	o := d.newOutputReader()
	o.drvReader = &d.reader
	return o.outputMap(ctx, drv)
}

func (o *outputReader) outputMap(ctx context.Context, drv storepath.Path) (outputs map[string]storepath.Path, err error) {
	if outputs := o.outputs[drv]; outputs != nil {
		return outputs, nil
	}
	if !drv.IsDerivation() {
		return nil, fmt.Errorf("path '%s' is not a store derivation", drv)
	}
	var realised bool
	err = o.s.read(ctx, func(c *conn) error {
		if outputs, err = c.outputs(o.s.dir, drv); err == nil {
			realised, err = c.hasRealisations()
		}
		return err
	})
	if err != nil || len(outputs) > 0 && !realised {
		return outputs, err
	}
	// The database has only the outputs whose paths are known.
	d, err := o.load(ctx, drv)
	if err != nil {
		return nil, err
	}
	for name, out := range d.Outputs.All() {
		path := cmp.Or(outputs[name], out.Path())
		if path == "" && realised {
			r, err := o.realisation(ctx, d, name)
			if err != nil {
				return nil, err
			}
			if r != nil {
				path = r.OutPath
			}
		}
		outputs[name] = path
	}
	o.outputs[drv] = outputs
	return outputs, nil
}

func (o *outputReader) load(ctx context.Context, drv storepath.Path) (*loaded, error) {
	text, err := o.text(ctx, drv)
	if err != nil {
		return nil, err
	}
	d, err := store.ParseDerivation(drv, text)
	return &loaded{d, drv, len(text)}, err
}

// loadValid reads a derivation, which must be valid.
func (o *outputReader) loadValid(ctx context.Context, drv storepath.Path) (*loaded, error) {
	valid, err := o.s.IsValidPath(ctx, drv)
	if err != nil {
		return nil, err
	}
	if !valid {
		return nil, notFound(drv)
	}
	return o.load(ctx, drv)
}

// hash returns the modulo hash of a derivation, by which Nix up to 2.34 knows its realisations.
func (o *outputReader) hash(ctx context.Context, d *derivation.Derivation) (nixhash.Hash, error) {
	inputs, err := o.s.modulo.inputsOf(ctx, o.drvReader, d, nil)
	if err != nil {
		return nixhash.Hash{}, err
	}
	h, err := d.HashModulo(derivation.ForOutputs, inputs, nil)
	return h.Hash, err
}

// stored returns the realisation that is stored under the path or the hash of an output, or nil, and
// whether its output is valid. A build trace can be older than the realisation that Nix up to 2.34 has
// written since the output was deleted, so a valid one counts first.
func (o *outputReader) stored(ctx context.Context, id store.DrvOutput) (r *store.Realisation, valid bool, err error) {
	err = o.s.read(ctx, func(c *conn) error {
		if o.traced, err = c.hasTable("BuildTraceV3"); err != nil {
			return err
		}
		if id.Path != "" && o.traced {
			if r, err = c.buildTrace(o.s.dir, id.Path, id.Output); err == nil && r != nil {
				_, valid, err = c.pathID(r.OutPath)
			}
		}
		if err != nil || valid || id.Hash.IsZero() {
			return err
		}
		current, err := c.realisation(o.s.dir, id.Hash, id.Output)
		if current != nil {
			r, valid = current, true
		}
		return err
	})
	return r, valid, err
}

// realisation returns the realisation of an output of a valid derivation, or nil.
func (o *outputReader) realisation(ctx context.Context, d *loaded, output string) (*store.Realisation, error) {
	hash, err := o.hash(ctx, d.Derivation)
	if err != nil {
		return nil, err
	}
	r, valid, err := o.stored(ctx, store.DrvOutput{Path: d.path, Hash: hash, Output: output})
	if valid || err != nil || d.InputDerivations.Len() == 0 || !o.traced {
		return r, err
	}
	resolved, err := o.resolved(ctx, d)
	if resolved == "" || err != nil {
		return r, err
	}
	under, valid, err := o.stored(ctx, store.DrvOutput{Path: resolved, Output: output})
	if under != nil && (valid || r == nil) {
		r = under
	}
	return r, err
}

// resolved returns the path of a derivation with its inputs replaced by the paths of their outputs, by which
// Nix from 2.35 on knows its realisations. It is "" if such a path is not known.
func (o *outputReader) resolved(ctx context.Context, d *loaded) (storepath.Path, error) {
	if d.InputDerivations.Len() == 0 {
		return d.path, nil
	}
	o.depth, o.bytes = o.depth+1, o.bytes+d.size
	defer func() { o.depth, o.bytes = o.depth-1, o.bytes-d.size }()
	if o.depth > maxResolving || o.depth > 1 && o.bytes > maxResolvingBytes {
		return "", fmt.Errorf("derivation '%s' cannot be resolved: its inputs are more than %d levels deep, or larger than %d bytes", d.path, maxResolving, maxResolvingBytes)
	}
	return store.ResolvedPath(d.Derivation, func(input derivation.SingleDerivedPath, output string) (storepath.Path, error) {
		return o.outputOf(ctx, input, output)
	})
}

// outputOf returns the path that an output has got, or "".
func (o *outputReader) outputOf(ctx context.Context, drv derivation.SingleDerivedPath, output string) (path storepath.Path, err error) {
	switch drv := drv.(type) {
	case derivation.Opaque:
		path = drv.Path
	case derivation.SingleBuilt:
		if path, err = o.outputOf(ctx, drv.Drv, drv.Output); err != nil || path == "" {
			return "", err
		}
	}
	outputs, err := o.outputMap(ctx, path)
	return outputs[output], err
}
