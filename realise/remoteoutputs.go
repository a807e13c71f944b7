package realise

import (
	"context"
	"fmt"
	"slices"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A machine is trusted to build, as in Nix: nothing else proves the contents of an input-addressed output. Everything that
// can be checked is checked: the outputs and their names, hashes of archives, content addresses, and references.

// fetch copies the outputs to the store below, and returns their paths.
func (b *remoteBuild) fetch(ctx context.Context, result *store.BuildResult) (map[string]store.Realisation, error) {
	outputs := make(map[string]store.Realisation)
	var paths []storepath.Path
	for name, o := range b.req.Derivation.Outputs.All() {
		path := o.Path()
		if path == "" {
			path = result.Outputs[name].OutPath
		}
		if path == "" {
			return nil, fmt.Errorf("the machine has not returned the path of output '%s'", name)
		}
		if want := storepath.OutputName(b.req.Derivation.Name, name); path.Name() != want {
			return nil, fmt.Errorf("the machine has returned '%s' as output '%s', whose name is '%s'", path, name, want)
		}
		outputs[name] = store.Realisation{OutPath: path}
		paths = append(paths, path)
	}
	s := b.call.store.Store
	if err := store.AddTempRoots(ctx, s, paths); err != nil {
		return nil, err
	}
	infos, err := b.missingInfos(ctx, outputs)
	if err != nil {
		return nil, err
	}
	if len(infos) > 0 {
		end := b.log.copying(fmt.Sprintf("copying outputs from '%s'", b.machine))
		defer end()
		if err := store.CopyObjects(b.locks.context(ctx), s, b.store, infos, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}}); err != nil {
			return nil, err
		}
	}
	return outputs, b.registerRealisations(ctx, outputs)
}

// missingInfos returns the infos of the outputs that the store below lacks, references first.
func (b *remoteBuild) missingInfos(ctx context.Context, outputs map[string]store.Realisation) ([]*store.PathInfo, error) {
	var infos []*store.PathInfo
	for name, out := range outputs {
		valid, err := b.call.store.IsValidPath(ctx, out.OutPath)
		if err != nil {
			return nil, err
		}
		if valid {
			continue
		}
		info, err := b.store.QueryPathInfo(ctx, out.OutPath)
		if err != nil {
			return nil, fmt.Errorf("output '%s': %w", name, err)
		}
		own := *info // it was built elsewhere, so it is not ultimate here
		own.Deriver, own.Ultimate = b.req.Path, false
		if err := b.checkInfo(name, &own, outputs); err != nil {
			return nil, err
		}
		infos = append(infos, &own)
	}
	return store.SortByReferences(infos)
}

// checkInfo checks what the machine says about an output.
func (b *remoteBuild) checkInfo(name string, info *store.PathInfo, outputs map[string]store.Realisation) error {
	spec, _ := b.req.Derivation.Outputs.Get(name)
	switch spec.Kind() {
	case derivation.Fixed: // the store below compares the contents with it
		info.CA = spec.ContentAddress()
	case derivation.Floating, derivation.Impure:
		if info.CA.Method() != spec.Method() || info.CA.Hash().Algorithm() != spec.Algorithm() {
			return fmt.Errorf("the content address of output '%s' is '%s', not one of %s", name, info.CA, spec.MethodAlgorithm())
		}
	case derivation.InputAddressed, derivation.Deferred:
	}
	for _, ref := range info.References {
		isOutput := func(out store.Realisation) bool { return out.OutPath == ref }
		if !b.closure[ref] && !slices.ContainsFunc(values(outputs), isOutput) {
			return fmt.Errorf("output '%s' refers to '%s', which is neither in its input closure nor an output", name, ref)
		}
	}
	return nil
}

func values(outputs map[string]store.Realisation) []store.Realisation {
	list := make([]store.Realisation, 0, len(outputs))
	for _, out := range outputs {
		list = append(list, out)
	}
	return list
}

// registerRealisations registers the paths of floating outputs.
func (b *remoteBuild) registerRealisations(ctx context.Context, outputs map[string]store.Realisation) error {
	d := b.req.Derivation
	if kind, err := d.Kind(); err != nil || kind != derivation.Floating || d.InputDerivations.Len() > 0 {
		return err
	}
	hash, err := d.HashModulo(derivation.ForOutputs, nil, nil)
	if err != nil {
		return err
	}
	for name, out := range outputs {
		r := store.KeyedRealisation{ID: store.DrvOutput{Path: b.req.Path, Hash: hash.Hash, Output: name}, Realisation: out}
		if err := store.RegisterRealisation(ctx, b.call.store.Store, r); err != nil {
			return err
		}
	}
	return nil
}
