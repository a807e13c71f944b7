package derivation

import (
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// A Resolver returns the store path of an output of a derivation, and whether it is known. The
// derivation is [Opaque], or itself an output.
type Resolver func(drv SingleDerivedPath, output string) (storepath.Path, bool)

// An UnresolvedError reports that the path of an output of an input is unknown.
type UnresolvedError struct {
	Name   string // name of the derivation to be resolved
	Drv    SingleDerivedPath
	Output string
}

func (e *UnresolvedError) Error() string {
	return fmt.Sprintf("derivation %q: the path of %s^%s is unknown", e.Name, e.Drv, e.Output)
}

// Resolve returns the derivation that Nix builds when the outputs of all inputs exist. The paths of the
// used outputs become input sources, and replace their placeholders in builder, arguments and
// environment. Deferred outputs get their paths. d does not change.
//
// Structured attributes are rewritten as text. Nix 2.34 also formats them again, which changes
// nothing if Nix has written them before.
//
// The error is an [*UnresolvedError] if resolver does not know the path of an output, a
// [*storepath.Error] for an input that is not a derivation or a path in another store directory, or
// an error of [Derivation.OutputPaths].
func (d *Derivation) Resolve(resolver Resolver) (*Derivation, error) {
	r := resolution{name: d.Name, resolver: resolver}
	for path, used := range d.InputDerivations.All() {
		if err := r.input(path, used); err != nil {
			return nil, err
		}
	}
	resolved := d.Clone()
	resolved.InputDerivations = Map[storepath.Path, InputOutputs]{}
	resolved.InputSources = SetOf(append(r.sources, d.InputSources.keys...)...)
	if resolved.Dir == "" && resolved.InputSources.Len() > 0 {
		resolved.Dir = resolved.InputSources.At(0).Dir()
	}
	for path := range resolved.InputSources.All() {
		if _, err := resolved.Dir.Parse(string(path)); err != nil {
			return nil, err
		}
	}
	resolved.rewrite(strings.NewReplacer(r.rewrites...))
	return resolved, resolved.setDeferredPaths()
}

// A resolution collects the resolved outputs of the inputs.
type resolution struct {
	name     string
	resolver Resolver
	sources  []storepath.Path
	rewrites []string // pairs of a placeholder and its replacement
}

func (r *resolution) input(path storepath.Path, used InputOutputs) error {
	return r.outputs(Opaque{path}, used, func(output string) (storepath.Placeholder, error) {
		return storepath.OutputPlaceholder(path, output)
	})
}

// outputs resolves the used outputs of drv. It recurses at most maxDynamicDepth times.
func (r *resolution) outputs(drv SingleDerivedPath, used InputOutputs, placeholder func(string) (storepath.Placeholder, error)) error {
	for output := range used.Names.All() {
		path, ok := r.resolver(drv, output)
		if !ok {
			return &UnresolvedError{r.name, drv, output}
		}
		from, err := placeholder(output)
		if err != nil {
			return err
		}
		r.sources = append(r.sources, path)
		r.rewrites = append(r.rewrites, string(from), string(path))
	}
	for output, child := range used.Dynamic.All() {
		nested, err := placeholder(output)
		if err != nil {
			return err
		}
		if err := r.outputs(SingleBuilt{drv, output}, child, nested.Output); err != nil {
			return err
		}
	}
	return nil
}

// rewrite replaces placeholders everywhere where Nix does.
func (d *Derivation) rewrite(r *strings.Replacer) {
	d.Builder = r.Replace(d.Builder)
	for i, arg := range d.Args {
		d.Args[i] = r.Replace(arg)
	}
	entries := slices.Clone(d.Env.list())
	for i, e := range entries {
		entries[i] = Entry[string, string]{r.Replace(e.Key), r.Replace(e.Value)}
	}
	d.Env = Map[string, string]{entries: sortEntries(entries)} // if two names have become equal, the first counts
}

// setDeferredPaths computes and sets the paths of deferred outputs. d must not have input derivations.
func (d *Derivation) setDeferredPaths() error {
	kind, err := d.Kind()
	if err != nil || kind != Deferred {
		return err
	}
	paths, err := d.OutputPaths(nil, nil)
	if err != nil {
		return err
	}
	for name, path := range paths.All() {
		d.Outputs.Set(name, InputAddressedOutput(path))
		d.Env.Set(name, string(path))
	}
	return nil
}
