package memstore

import (
	"context"
	"fmt"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A drvInfo has what follows from the text of a valid derivation.
type drvInfo struct {
	drv     *derivation.Derivation
	asInput derivation.ModuloHash
	hash    nixhash.Hash              // the key of realisations
	outputs map[string]storepath.Path // "" for a path that is not known before the build
}

// readDerivation parses the derivation in an object, and checks its output paths. Its inputs are valid, so their
// hashes are known.
func (c *contents) readDerivation(o *object) (*drvInfo, error) {
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
	info := &drvInfo{drv: d, outputs: make(map[string]storepath.Path, d.Outputs.Len())}
	if info.asInput, err = d.HashModulo(derivation.AsInput, inputs, nil); err != nil {
		return nil, err
	}
	own, err := d.HashModulo(derivation.ForOutputs, inputs, nil)
	if err != nil {
		return nil, err
	}
	info.hash = own.Hash
	for name := range d.Outputs.Keys() {
		info.outputs[name], _ = known.Get(name)
	}
	return info, nil
}

// derivationAt returns the drvInfo of a valid derivation.
func (c *contents) derivationAt(path storepath.Path) (*drvInfo, error) {
	o, err := c.get(path)
	if err != nil {
		return nil, err
	}
	if o.drv == nil {
		return nil, fmt.Errorf("path '%s' is not a store derivation", path)
	}
	return o.drv, nil
}

// DrvHash returns the modulo hash of a valid derivation, which is the key of its realisations.
func (s *Store) DrvHash(_ context.Context, drv storepath.Path) (nixhash.Hash, error) {
	info, err := s.derivationAt(drv)
	if err != nil {
		return nixhash.Hash{}, err
	}
	return info.hash, nil
}

// QueryDerivationOutputMap returns the output paths of a valid derivation. A path that neither the text nor a
// realisation has is "".
func (s *Store) QueryDerivationOutputMap(_ context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	info, err := s.derivationAt(drv)
	if err != nil {
		return nil, err
	}
	return s.outputsOf(drv, info), nil
}

func (s *Store) outputsOf(drv storepath.Path, info *drvInfo) map[string]storepath.Path {
	s.mu.RLock()
	defer s.mu.RUnlock()
	outputs := make(map[string]storepath.Path, len(info.outputs))
	for name, path := range info.outputs {
		if path == "" {
			if r := s.realisation(store.DrvOutput{Path: drv, Hash: info.hash, Output: name}); r != nil {
				path = r.OutPath
			}
		}
		outputs[name] = path
	}
	return outputs
}

// An outputID is a key of a realisation: the hash or the path of the derivation, and the name of the output.
type outputID struct {
	drv    string
	output string
}

// outputIDs returns the keys of an output. If only the path of the derivation is given, and it is valid, the hash
// is added.
func (c *contents) outputIDs(id store.DrvOutput) []outputID {
	var ids []outputID
	if o := c.objects[id.Path]; id.Hash.IsZero() && o != nil && o.drv != nil {
		id.Hash = o.drv.hash
	}
	if !id.Hash.IsZero() {
		ids = append(ids, outputID{id.Hash.WithBase16(), id.Output})
	}
	if id.Path != "" {
		ids = append(ids, outputID{string(id.Path), id.Output})
	}
	return ids
}

// realisation returns the realisation of an output, or nil if there is none or its path is not valid.
func (c *contents) realisation(id store.DrvOutput) *store.KeyedRealisation {
	for _, key := range c.outputIDs(id) {
		if r := c.realisations[key]; r != nil && c.objects[r.OutPath] != nil {
			return r
		}
	}
	return nil
}

// QueryRealisation returns the realisation of an output. The error is [store.ErrNotFound] if the store has none.
func (s *Store) QueryRealisation(_ context.Context, output store.DrvOutput) (*store.Realisation, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.realisation(output)
	if r == nil {
		return nil, fmt.Errorf("output '%s' has no known path: %w", output.Output, store.ErrNotFound)
	}
	return &store.Realisation{OutPath: r.OutPath, Signatures: union(r.Signatures, nil)}, nil
}

// RegisterDrvOutput registers the realisation of an output. Its path must be valid. If the output has a realisation
// with the same path already, the signatures are added to it; another path is an error.
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
	for _, key := range s.outputIDs(r.ID) {
		s.realisations[key] = &r
	}
	return nil
}
