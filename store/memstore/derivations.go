package memstore

import (
	"context"
	"fmt"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// drvFacts are what follows from the text of a valid derivation.
type drvFacts struct {
	drv     *derivation.Derivation
	asInput derivation.ModuloHash
	hash    nixhash.Hash              // by which realisations are known
	outputs map[string]storepath.Path // "" where the path is not known before the build
}

// readDerivation reads an object that is a derivation. Its inputs are valid, so their
// hashes are known. It must have the output paths that follow from it.
func (c *contents) readDerivation(o *object) (*drvFacts, error) {
	text, err := fileIn(o.nar)
	if err != nil {
		return nil, fmt.Errorf("derivation '%s': %w", o.info.Path, err)
	}
	d, err := store.ParseDerivation(o.info.Path, string(text))
	if err != nil {
		return nil, err
	}
	inputs := func(path storepath.Path) (h derivation.ModuloHash, ok bool) {
		if input := c.objects[path]; input != nil && input.drv != nil {
			return input.drv.asInput, true
		}
		return h, false
	}
	known, _, err := store.CheckOutputs(o.info.Path, d, inputs)
	if err != nil {
		return nil, err
	}
	f := &drvFacts{drv: d, outputs: make(map[string]storepath.Path, d.Outputs.Len())}
	if f.asInput, err = d.HashModulo(derivation.AsInput, inputs, nil); err != nil {
		return nil, err
	}
	own, err := d.HashModulo(derivation.ForOutputs, inputs, nil)
	if err != nil {
		return nil, err
	}
	f.hash = own.Hash
	for name := range d.Outputs.Keys() {
		f.outputs[name], _ = known.Get(name)
	}
	return f, nil
}

// derivationAt returns the facts of a valid derivation.
func (c *contents) derivationAt(path storepath.Path) (*drvFacts, error) {
	o, err := c.get(path)
	if err != nil {
		return nil, err
	}
	if o.drv == nil {
		return nil, fmt.Errorf("path '%s' is not a store derivation", path)
	}
	return o.drv, nil
}

// DrvHash returns the modulo hash of a valid derivation, by which its realisations are known.
func (s *Store) DrvHash(_ context.Context, drv storepath.Path) (nixhash.Hash, error) {
	f, err := s.derivationAt(drv)
	if err != nil {
		return nixhash.Hash{}, err
	}
	return f.hash, nil
}

// QueryDerivationOutputMap returns the outputs of a valid derivation. Those whose paths
// are known neither from its text nor from a realisation have "".
func (s *Store) QueryDerivationOutputMap(_ context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	f, err := s.derivationAt(drv)
	if err != nil {
		return nil, err
	}
	return s.outputsOf(drv, f), nil
}

func (s *Store) outputsOf(drv storepath.Path, f *drvFacts) map[string]storepath.Path {
	s.mu.RLock()
	defer s.mu.RUnlock()
	outputs := make(map[string]storepath.Path, len(f.outputs))
	for name, path := range f.outputs {
		if path == "" {
			if r := s.realisation(store.DrvOutput{Path: drv, Hash: f.hash, Output: name}); r != nil {
				path = r.OutPath
			}
		}
		outputs[name] = path
	}
	return outputs
}

// An outputID is a name under which a realisation is found: by the hash of the derivation,
// or by its path.
type outputID struct {
	drv    string
	output string
}

// names returns the names of an output. Where a derivation is valid, its path tells its
// hash.
func (c *contents) names(id store.DrvOutput) []outputID {
	var names []outputID
	if o := c.objects[id.Path]; id.Hash.IsZero() && o != nil && o.drv != nil {
		id.Hash = o.drv.hash
	}
	if !id.Hash.IsZero() {
		names = append(names, outputID{id.Hash.WithBase16(), id.Output})
	}
	if id.Path != "" {
		names = append(names, outputID{string(id.Path), id.Output})
	}
	return names
}

// realisation returns what is known of an output whose path is valid, or nil.
func (c *contents) realisation(id store.DrvOutput) *store.KeyedRealisation {
	for _, name := range c.names(id) {
		if r := c.realisations[name]; r != nil && c.objects[r.OutPath] != nil {
			return r
		}
	}
	return nil
}

// QueryRealisation returns the path that an output has got. The error is
// [store.ErrNotFound] if it is not known.
func (s *Store) QueryRealisation(_ context.Context, output store.DrvOutput) (*store.Realisation, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.realisation(output)
	if r == nil {
		return nil, fmt.Errorf("output '%s' has no known path: %w", output.Output, store.ErrNotFound)
	}
	return &store.Realisation{OutPath: r.OutPath, Signatures: union(r.Signatures, nil)}, nil
}

// RegisterDrvOutput notes which path an output has got, which must be valid. An output has
// one path: another than it has already is an error, and signatures are added.
func (s *Store) RegisterDrvOutput(_ context.Context, r store.KeyedRealisation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[r.OutPath] == nil {
		return &store.NotFoundError{Path: r.OutPath}
	}
	if old := s.realisation(r.ID); old != nil {
		if old.OutPath != r.OutPath {
			return fmt.Errorf("Trying to register a realisation of '%s', but we already have another one locally.\nLocal:  %s\nRemote: %s", r.ID.Output, old.OutPath, r.OutPath)
		}
		r.Signatures = union(old.Signatures, r.Signatures)
	}
	for _, name := range s.names(r.ID) {
		s.realisations[name] = &r
	}
	return nil
}
