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

// A derivation is resolved after its inputs, so a chain of derivations is in memory at the same time. An untrusted user
// can add a long chain. These limits bound the stack and the heap.
const (
	maxResolving      = 10_000   // derivations
	maxResolvingBytes = 64 << 20 // bytes of their texts
)

// An outputReader determines the output paths of derivations for one call.
type outputReader struct {
	*drvReader
	own     drvReader
	outputs map[storepath.Path]map[string]storepath.Path // by derivation: the results so far
	traced  bool                                         // the store has a build trace

	resolving    map[storepath.Path]bool // derivations
	depth, bytes int                     // of them
}

// A loaded derivation is a derivation with its path and size.
type loaded struct {
	*derivation.Derivation
	path storepath.Path
	size int // of the text, in bytes
}

func (s *Store) newOutputReader() *outputReader {
	o := &outputReader{own: drvReader{s: s}, outputs: make(map[storepath.Path]map[string]storepath.Path)}
	o.drvReader = &o.own
	return o
}

// QueryDerivationOutputMap returns the output paths of a valid derivation, by output name. The path is "" if neither
// the derivation nor a realisation contains it. QueryDerivationOutputMap returns a [*store.NotFoundError] if the
// derivation is not valid.
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
	// The database contains only outputs whose paths follow from the derivation.
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

// loadValid reads a derivation. It returns a [*store.NotFoundError] if the derivation is not valid.
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

// hash returns the modulo hash of a derivation. Nix up to 2.34 stores realisations under this hash.
func (o *outputReader) hash(ctx context.Context, d *derivation.Derivation) (nixhash.Hash, error) {
	inputs, err := o.s.modulo.inputsOf(ctx, o.drvReader, d, nil)
	if err != nil {
		return nixhash.Hash{}, err
	}
	h, err := d.HashModulo(derivation.ForOutputs, inputs, nil)
	return h.Hash, err
}

// stored returns the realisation that is stored under the path or the hash of an output, or nil, and reports whether
// its output path is valid. It prefers a realisation with a valid output path: after the output was deleted, Nix up to
// 2.34 may have written a realisation that is newer than the build trace.
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
	trace, valid, err := o.stored(ctx, store.DrvOutput{Path: resolved, Output: output})
	if trace != nil && (valid || r == nil) {
		r = trace
	}
	return r, err
}

// resolved returns the path of the resolved derivation, in which inputs are replaced by their output paths. Nix from
// 2.35 on stores realisations under this path. It is "" if the path of an input's output is not known.
//
// A derivation can use the outputs of a derivation that a builder made. Then derivations can need each other in a circle,
// and the outputs are not known.
func (o *outputReader) resolved(ctx context.Context, d *loaded) (storepath.Path, error) {
	if d.InputDerivations.Len() == 0 {
		return d.path, nil
	}
	if o.resolving[d.path] {
		return "", nil
	}
	if o.resolving == nil {
		o.resolving = make(map[storepath.Path]bool)
	}
	o.resolving[d.path], o.depth, o.bytes = true, o.depth+1, o.bytes+d.size
	defer func() { o.depth, o.bytes = o.depth-1, o.bytes-d.size; delete(o.resolving, d.path) }()
	if o.depth > maxResolving || o.depth > 1 && o.bytes > maxResolvingBytes {
		return "", fmt.Errorf("derivation '%s' cannot be resolved: its inputs are more than %d levels deep, or larger than %d bytes", d.path, maxResolving, maxResolvingBytes)
	}
	return store.ResolvedPath(d.Derivation, func(input derivation.SingleDerivedPath, output string) (storepath.Path, error) {
		return o.outputOf(ctx, input, output)
	})
}

// outputOf returns the path of an output, or "" if it is not known.
func (o *outputReader) outputOf(ctx context.Context, drv derivation.SingleDerivedPath, output string) (path storepath.Path, err error) {
	switch drv := drv.(type) {
	case derivation.Opaque:
		path = drv.Path
	case derivation.SingleBuilt:
		if path, err = o.outputOf(ctx, drv.Drv, drv.Output); err != nil || path == "" {
			return "", err
		}
	}
	if !path.IsDerivation() { // the output of a derivation need not be one
		return "", nil
	}
	outputs, err := o.outputMap(ctx, path)
	return outputs[output], err
}
