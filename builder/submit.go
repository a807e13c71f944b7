package builder

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A builder with the feature builder-rpc-v0 of Nix 2.36 leaves no files behind. It adds its outputs to the store, over
// the socket of recursive-nix, and then submits a path for each output. It can do nothing else with the store.

// submitFeature is the system feature that a derivation with such a builder requires.
const submitFeature = "builder-rpc-v0"

// submits reports whether the builder submits its outputs.
func (b *build) submits() bool {
	return b.options.RequiredSystemFeatures.Has(submitFeature) && !b.isBuiltin()
}

// checkSubmits returns an error if the outputs of a builder cannot be submitted.
func (b *build) checkSubmits() error {
	switch {
	case b.kind != derivation.Floating && b.kind != derivation.Fixed:
		return errors.New("The builder-rpc-v0 feature may only be used with content-addressing derivations") //nolint:staticcheck // Nix's words
	case b.store.Rules() != store.Rules236:
		return errors.New("the feature 'builder-rpc-v0' needs a store with the option rules=2.36")
	case b.req.Mode != store.BuildNormal:
		return fmt.Errorf("'%s' cannot be checked or repaired, because its builder submits its outputs", b.req.Path)
	}
	return nil
}

// Submits reports whether the builder can only add paths and submit outputs.
func (s *Scope) Submits() bool { return s.build.submits() }

// Submit makes a path an output of the build. The path must be in the scope; Nix accepts others.
func (s *Scope) Submit(path storepath.Path, output string) error {
	if !s.Has(path) {
		return &store.NotFoundError{Path: path}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.submitted[output]; ok {
		return fmt.Errorf("Attempted to submit duplicate output '%s' (old '%s', new '%s')", output, old, path) //nolint:staticcheck // Nix's words
	}
	if len(s.submitted) >= maxAdded {
		return fmt.Errorf("the builder has submitted %d outputs, which is the limit", maxAdded)
	}
	s.submitted[output] = path
	return nil
}

// finishSubmitted checks the submitted outputs, and registers them. The builder and the serving of the store have
// ended.
//
// Source: checkSubmittedOutputs in src/libstore/unix/build/derivation-builder.cc in Nix at 55eea45542.
func (b *build) finishSubmitted(ctx context.Context) (map[string]store.Realisation, error) {
	f := b.newFinisher()
	for _, name := range sortedKeys(b.scope.submitted) {
		m, err := f.submitted(ctx, name, b.scope.submitted[name])
		if err != nil {
			return nil, err
		}
		f.made = append(f.made, m)
		f.finals[m.scratch] = m.info.Path
	}
	if err := f.checkOutputs(ctx); err != nil {
		return nil, err
	}
	outputs := make(map[string]store.Realisation, len(f.outputs))
	for _, o := range f.outputs {
		path, ok := b.scope.submitted[o.name]
		if !ok {
			return nil, rejected("builder for '%s' failed to submit output path for '%s'", f.req.Path, o.name)
		}
		outputs[o.name] = store.Realisation{OutPath: path}
	}
	for _, m := range f.made {
		if f.kind != derivation.Floating {
			continue
		}
		r, err := f.registerRealisation(ctx, m)
		if err != nil {
			return nil, err
		}
		outputs[m.name] = r
	}
	return outputs, nil
}

// submitted returns a submitted output, if its path has the name and the content address that the derivation demands.
func (f *finisher) submitted(ctx context.Context, name string, path storepath.Path) (*made, error) {
	spec, ok := f.drv.Outputs.Get(name)
	if !ok {
		names := make([]string, 0, len(f.outputs))
		for _, o := range f.outputs {
			names = append(names, o.name)
		}
		return nil, rejected("builder for '%s' submitted unknown output '%s' (Valid outputs are [%s])", f.req.Path, name, strings.Join(names, ", "))
	}
	info, err := f.store.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	if want := storepath.OutputName(f.drv.Name, name); path.Name() != want {
		return nil, rejected("derivation '%s' output '%s' (at '%s') was named '%s', expected '%s'", f.req.Path, name, path, path.Name(), want)
	}
	if err := f.checkSubmittedAddress(name, spec, info); err != nil {
		return nil, err
	}
	m := &made{info: *info}
	for _, o := range f.outputs {
		if o.name == name {
			m.output = o
		}
	}
	return m, nil
}

// checkSubmittedAddress checks the content address of a submitted output. [finisher.checkFixed] compares the hash of a
// fixed one. Nix does not compare its method, so that a text could be submitted for a flat file, under another path.
func (f *finisher) checkSubmittedAddress(name string, spec derivation.Output, info *store.PathInfo) error {
	if info.CA.IsZero() {
		return rejected("floating content-addressing derivation '%s' output '%s' (at '%s') was not content-addressed", f.req.Path, name, info.Path)
	}
	if got, want := info.CA.Method(), spec.Method(); got != want {
		return rejected("content-addressing derivation '%s' output '%s' (at '%s') was hashed with method '%s', expected '%s'", f.req.Path, name, info.Path, got, want)
	}
	if got, want := info.CA.Hash().Algorithm(), spec.Algorithm(); got != want && spec.Kind() == derivation.Floating {
		return rejected("content-addressing derivation '%s' output '%s' (at '%s') was hashed with algorithm '%s', expected '%s'", f.req.Path, name, info.Path, got, want)
	}
	return nil
}
