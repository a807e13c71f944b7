package derivation

import (
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// A Resolver returns the store path that an output of a derivation has got, and
// whether it is known. The derivation is [Opaque], or itself an output.
type Resolver func(drv SingleDerivedPath, output string) (storepath.Path, bool)

// An UnresolvedError says that the path of an output of an input is not known.
type UnresolvedError struct {
	Name   string // of the derivation that was resolved
	Drv    SingleDerivedPath
	Output string
}

func (e *UnresolvedError) Error() string {
	return fmt.Sprintf("derivation %q: the path of %s^%s is not known", e.Name, e.Drv, e.Output)
}

// Resolve returns the derivation that is really built once the outputs of all inputs
// are there: input derivations become the paths of their outputs, which are then
// sources, and in builder, arguments and environment these paths take the place of
// placeholders. Outputs that were deferred get their paths. d is not changed.
//
// Structured attributes are rewritten as the text that they are. Nix 2.34 writes
// them anew; the result is the same if it has written them before.
//
// The error is an [*UnresolvedError] for an output whose path the resolver does not
// know; a [*storepath.Error] for an input that is no derivation, and for a path in
// another store directory; or one of [Derivation.OutputPaths].
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
	return resolved, resolved.settleDeferred()
}

// A resolution collects what the inputs come to.
type resolution struct {
	name     string
	resolver Resolver
	sources  []storepath.Path
	rewrites []string // placeholders, each followed by what takes its place
}

func (r *resolution) input(path storepath.Path, used InputOutputs) error {
	return r.outputs(Opaque{path}, used, func(output string) (storepath.Placeholder, error) {
		return storepath.OutputPlaceholder(path, output)
	})
}

// outputs resolves what is used of drv. The depth of recursion is bounded by
// maxDynamicDepth.
func (r *resolution) outputs(drv SingleDerivedPath, used InputOutputs, placeholder func(string) (storepath.Placeholder, error)) error {
	for output := range used.Names.All() {
		path, ok := r.resolver(drv, output)
		if !ok {
			return &UnresolvedError{r.name, drv, output}
		}
		instead, err := placeholder(output)
		if err != nil {
			return err
		}
		r.sources = append(r.sources, path)
		r.rewrites = append(r.rewrites, string(instead), string(path))
	}
	for output, child := range used.Dynamic.All() {
		here, err := placeholder(output)
		if err != nil {
			return err
		}
		if err := r.outputs(SingleBuilt{drv, output}, child, here.Output); err != nil {
			return err
		}
	}
	return nil
}

// rewrite replaces placeholders wherever Nix does.
func (d *Derivation) rewrite(r *strings.Replacer) {
	d.Builder = r.Replace(d.Builder)
	for i, arg := range d.Args {
		d.Args[i] = r.Replace(arg)
	}
	entries := slices.Clone(d.Env.list())
	for i, e := range entries {
		entries[i] = Entry[string, string]{r.Replace(e.Key), r.Replace(e.Value)}
	}
	d.Env = Map[string, string]{entries: sortEntries(entries)} // of two names that have become one the first counts
}

// settleDeferred gives deferred outputs the paths that they have now that there are no
// input derivations.
func (d *Derivation) settleDeferred() error {
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
