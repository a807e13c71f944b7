package explain

import (
	"context"
	"errors"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// addFloating adds the steps for outputs that are addressed by their contents: the placeholder of each, and the path if the store
// has built it.
func (e *Explanation) addFloating(ctx context.Context, d Drv, o *DerivationOptions) error {
	for name, output := range d.Outputs.All() {
		if !o.explains(name) {
			continue
		}
		e.addPlaceholder(name)
		if o.Store == nil {
			continue
		}
		info, err := builtInfo(ctx, o.Store, d.Path, name)
		if err != nil {
			return err
		}
		if info == nil {
			continue
		}
		if info.CA.IsZero() {
			e.Problems = append(e.Problems, "the built output '"+name+"' has no content address")
			continue
		}
		e.check("the method and algorithm of the built output '"+name+"'", output.MethodAlgorithm(), info.CA.MethodAlgorithm())
		content := e.addContent(name, info.CA, "", false)
		path, err := e.addContentAddress(name, d.Dir, storepath.OutputName(d.Name, name), info.CA, content, referencesOf(info))
		if err != nil {
			return err
		}
		e.check("the path of the built output '"+name+"'", path, string(info.Path))
	}
	return nil
}

// builtInfo returns the info of a built output, or nil if the store does not know its path or does not have it.
func builtInfo(ctx context.Context, s store.Store, drv storepath.Path, output string) (*store.PathInfo, error) {
	path, err := store.ResolvePath(ctx, s, derivation.SingleBuilt{Drv: derivation.Opaque{Path: drv}, Output: output})
	if err != nil {
		return nil, unlessUnknown(err)
	}
	info, err := s.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, unlessUnknown(err)
	}
	return info, nil
}

// unlessUnknown returns nil for the errors of a store that does not know an output, and every other error.
func unlessUnknown(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// addPlaceholder adds the steps for the placeholder of an output whose path is known only after the build.
func (e *Explanation) addPlaceholder(name string) {
	digest := e.add(Step{
		Name: StepPlaceholder, Output: name, Op: HashOp(nixhash.SHA256), Text: storepath.OwnPlaceholderText(name),
		Inputs: []Input{{Name: "output", Value: name}},
		Title:  "The placeholder",
		Why:    "The path follows from the contents, which exist only after the build. Until then a placeholder stands for it.",
	})
	text := e.add(Step{
		Name: StepPlaceholderBase32, Output: name, Op: OpNix32, Text: e.Steps[digest-1].Result, Inputs: []Input{e.from("SHA-256", digest)},
		Title: "In base 32",
		Why:   "The placeholder has the whole SHA-256, which is not folded.",
	})
	e.add(Step{
		Name: StepPlaceholderPath, Output: name, Op: OpJoin, Text: "/" + e.Steps[text-1].Result, Inputs: []Input{e.from("digest", text)},
		Title: "The placeholder of the output",
		Why:   "It begins with a slash like a path, and contains no store directory and no name.",
	})
}

// addResolved adds the steps for the outputs of a deferred derivation, if the store knows the outputs of all its inputs.
func (e *Explanation) addResolved(ctx context.Context, d Drv, o *DerivationOptions) error {
	for name, output := range d.Outputs.All() {
		if o.explains(name) {
			e.checkOutput(d.Derivation, name, output, "")
		}
	}
	if o.Store == nil {
		e.addUnresolved()
		return nil
	}
	var failed error
	resolved, err := d.Resolve(func(drv derivation.SingleDerivedPath, output string) (storepath.Path, bool) {
		path, err := store.ResolvePath(ctx, o.Store, derivation.SingleBuilt{Drv: drv, Output: output})
		if err != nil && failed == nil {
			failed = unlessUnknown(err)
		}
		return path, err == nil
	})
	if failed != nil {
		return failed
	}
	if errors.As(err, new(*derivation.UnresolvedError)) {
		e.addUnresolved()
		return nil
	}
	if err != nil {
		return err
	}
	hash, err := resolved.HashModulo(derivation.ForOutputs, nil, nil)
	if err != nil {
		return err
	}
	text, err := resolved.ModuloText(derivation.ForOutputs, nil, nil)
	if err != nil {
		return err
	}
	step := e.add(Step{
		Name: StepResolved, Op: HashOp(nixhash.SHA256), Text: text, Title: "The resolved derivation",
		Why: "All inputs are built, so the paths of their outputs replace them: as input sources, and in place of their placeholders. Nix builds this derivation, and its modulo hash gives the paths of the outputs.",
	})
	if err := e.addOutputs(resolved, hash.Hash, step, o); err != nil {
		return err
	}
	return e.checkBuilt(ctx, d.Path, o.Store)
}

// checkBuilt compares the computed paths of the outputs of a derivation with the ones that the store knows.
func (e *Explanation) checkBuilt(ctx context.Context, drv storepath.Path, s store.Store) error {
	known, err := store.OutputMap(ctx, s, drv)
	if err != nil {
		return unlessUnknown(err)
	}
	for i := range e.Steps {
		step := &e.Steps[i]
		if path := known[step.Output]; step.Name == StepPath && path != "" {
			e.check("the path of the built output '"+step.Output+"'", step.Result, string(path))
		}
	}
	return nil
}

// addUnresolved adds the step that says why a deferred derivation has no output paths.
func (e *Explanation) addUnresolved() {
	e.add(Step{
		Name: StepResolved, Op: OpShow, Title: "The paths of the outputs are not known",
		Why: "The outputs of an input are not built, or not in this store. When they are known, Nix replaces the inputs by them, and computes the paths from this resolved derivation.",
	})
}
