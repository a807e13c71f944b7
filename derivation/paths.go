package derivation

import (
	"pix/nixhash"
	"pix/storepath"
)

// References returns what the .drv file refers to: its input derivations and
// sources, but not its outputs.
func (d *Derivation) References() Set[storepath.Path] {
	sources := d.InputSources.keys
	all := make([]storepath.Path, 0, d.InputDerivations.Len()+len(sources))
	for drv := range d.InputDerivations.Keys() {
		for len(sources) > 0 && sources[0] < drv {
			all, sources = append(all, sources[0]), sources[1:]
		}
		if len(sources) > 0 && sources[0] == drv {
			sources = sources[1:]
		}
		all = append(all, drv)
	}
	return Set[storepath.Path]{append(all, sources...)}
}

// Path computes the store path of the .drv file itself: that of a text with the
// derivation's [Derivation.References], named like the derivation with ".drv" after
// it. Name and Dir must be set.
func (d *Derivation) Path() (storepath.Path, error) {
	dir, err := d.dir()
	if err != nil {
		return "", err
	}
	references := d.References()
	for _, path := range references.keys {
		if _, err := dir.Parse(string(path)); err != nil {
			return "", err
		}
	}
	return d.pathOf(nixhash.Sum(nixhash.SHA256, d.AppendATerm(nil)), references)
}

// pathOf computes the store path of the .drv file whose text has that SHA-256. It does
// what [storepath.Dir.TextPath] does with references that are known to be valid and
// sorted, as those of a derivation are that was parsed.
func (d *Derivation) pathOf(text nixhash.Hash, references Set[storepath.Path]) (storepath.Path, error) {
	var few [1024]byte
	typ := append(few[:0], "text"...)
	for _, path := range references.keys {
		typ = append(append(typ, ':'), path...)
	}
	return d.Dir.MakePath(string(typ), text, d.Name+storepath.DerivationExt)
}

// OutputPaths computes the paths of the outputs, from the modulo hash with
// [ForOutputs] or for a fixed output from its hash. The map has those that can be
// known before the build: it is empty for floating and impure outputs, and for
// input-addressed ones that must be deferred. Outputs that are deferred, and need
// not be, are in it. What the derivation itself says of paths is not looked at.
//
// The errors are those of [Derivation.HashModulo].
func (d *Derivation) OutputPaths(inputs InputHashes, o *ModuloOptions) (Map[string, storepath.Path], error) {
	var paths Map[string, storepath.Path]
	kind, err := d.Kind()
	if err != nil || kind == Floating || kind == Impure {
		return paths, err
	}
	if kind == Fixed {
		name, output := d.Outputs.At(0)
		path, err := d.fixedPath(name, output)
		if err == nil {
			paths.Set(name, path)
		}
		return paths, err
	}
	dir, err := d.dir()
	if err != nil {
		return paths, err
	}
	hash, err := d.HashModulo(ForOutputs, inputs, o)
	if err != nil || hash.Deferred {
		return paths, err
	}
	for name := range d.Outputs.Keys() {
		path, err := dir.OutputPath(name, hash.Hash, d.Name)
		if err != nil {
			return Map[string, storepath.Path]{}, err
		}
		paths.entries = append(paths.entries, Entry[string, storepath.Path]{name, path})
	}
	return paths, nil
}

// fixedPath computes the path of a fixed output.
func (d *Derivation) fixedPath(name string, o Output) (storepath.Path, error) {
	dir, err := d.dir()
	if err != nil {
		return "", err
	}
	return dir.FixedOutputPath(storepath.OutputName(d.Name, name), o.ContentAddress(), storepath.References{})
}

// FillOutputPaths computes the output paths and writes them where they are missing,
// as "nix derivation add" does: into deferred outputs that need not be deferred, into
// fixed outputs, and into the variables of these outputs if they are missing or
// empty. Outputs and variables that have a path already must have the right one.
//
// A derivation with a deferred output whose variable is missing, not empty, is
// refused here as by Nix 2.34: its hash is not the same before and after the variable
// is added.
//
// The errors are those of [Derivation.HashModulo] and [Derivation.Validate]; d is
// then unchanged.
func (d *Derivation) FillOutputPaths(inputs InputHashes, o *ModuloOptions) error {
	paths, err := d.OutputPaths(inputs, o)
	if err != nil {
		return err
	}
	filled := *d
	filled.Outputs, filled.Env = d.Outputs.Clone(), d.Env.Clone()
	for name, path := range paths.All() {
		output, _ := filled.Outputs.Get(name)
		switch {
		case output.kind == Deferred:
			output = InputAddressedOutput(path)
		case output.kind == Fixed:
			output.path = path // what is there counts for nothing
		case output.path != path:
			return wrongPath(d.Name, name, path, output.path)
		default:
			continue // known already; Nix does not look at the variable then
		}
		filled.Outputs.Set(name, output)
		if value, _ := filled.Env.Get(name); value == "" {
			filled.Env.Set(name, string(path))
		}
	}
	if err := filled.CheckOutputPaths(inputs, o); err != nil {
		return err
	}
	*d = filled
	return nil
}

// CheckOutputPaths computes the output paths and compares them with those that the
// derivation has. The error is an [*InvalidError] for an output that has another path
// than the computed one, a path where it should be deferred, or none where it should
// have one; and for an output of known path whose environment variable is missing or
// has another value. Other errors are those of [Derivation.HashModulo].
func (d *Derivation) CheckOutputPaths(inputs InputHashes, o *ModuloOptions) error {
	paths, err := d.OutputPaths(inputs, o)
	if err != nil {
		return err
	}
	if wrong := d.wrongOutputs(paths); len(wrong) > 0 {
		return wrong[0]
	}
	return nil
}

// wrongOutputs compares the outputs and their variables with the computed paths.
func (d *Derivation) wrongOutputs(paths Map[string, storepath.Path]) (wrong []*InvalidError) {
	for i := range d.Outputs.entries {
		name, output := d.Outputs.entries[i].Key, &d.Outputs.entries[i].Value
		path, known := paths.Get(name)
		switch {
		case !known && output.path != "":
			wrong = append(wrong, &InvalidError{
				Name: d.Name, Field: outputField(name),
				Reason: "an input is content-addressed and not built yet, so there can be no path",
				Want:   "no path", Got: string(output.path),
			})
		case known && output.path != path:
			wrong = append(wrong, wrongPath(d.Name, name, path, output.path))
		case known:
			if e := d.wrongVariable(name, path); e != nil {
				wrong = append(wrong, e)
			}
		}
	}
	return wrong
}

// wrongVariable returns what is wrong with the variable of an output; nil if nothing.
func (d *Derivation) wrongVariable(output string, path storepath.Path) *InvalidError {
	value, ok := d.Env.Get(output)
	if ok && value == string(path) {
		return nil
	}
	e := &InvalidError{Name: d.Name, Field: envField(output), Reason: "it must be the path of the output", Want: string(path), Got: value}
	if !ok {
		e.Reason, e.Got = "the variable of an output must be there", "no such variable"
	}
	return e
}

func wrongPath(drv, output string, want, got storepath.Path) *InvalidError {
	return &InvalidError{Name: drv, Field: outputField(output), Reason: "the path does not follow from the derivation", Want: string(want), Got: string(got)}
}

func envField(name string) string { return "env \"" + name + "\"" }
