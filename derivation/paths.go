package derivation

import (
	"pix/nixhash"
	"pix/storepath"
)

// References returns the references of the .drv file: its input derivations and sources, but not
// its outputs.
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

// Path computes the store path of the .drv file: the path of a text object with the references
// [Derivation.References], and the name of the derivation followed by ".drv". Name and Dir must be
// set.
func (d *Derivation) Path() (storepath.Path, error) {
	dir, err := d.dir()
	if err != nil {
		return "", err
	}
	references := d.References()
	for _, path := range references.keys {
		if isPlainPath(dir, string(path)) {
			continue
		}
		if _, err := dir.Parse(string(path)); err != nil {
			return "", err
		}
	}
	buffers := hashBufferPool.Get().(*hashBuffers)
	defer buffers.release()
	return d.pathOf(buffers.sum(d.AppendATerm(buffers.text[:0])), references)
}

// pathOf computes the store path of the .drv file whose text has the given SHA-256. It is a fast
// version of [storepath.Dir.TextPath]: the references must be valid and sorted, as they are in a
// parsed derivation.
func (d *Derivation) pathOf(text nixhash.Hash, references Set[storepath.Path]) (storepath.Path, error) {
	var few [1024]byte
	typ := append(few[:0], "text"...)
	for _, path := range references.keys {
		typ = append(append(typ, ':'), path...)
	}
	return d.Dir.MakePath(string(typ), text, d.Name+storepath.DerivationExt)
}

// OutputPaths computes the paths of the outputs from the modulo hash [ForOutputs], or the path of a
// fixed output from its hash. It ignores the paths in d.
//
// The result has only the paths that can be known before the build. It is empty for floating and
// impure outputs, and for input-addressed outputs that must be deferred. If no input requires an
// output to be deferred, the result has its path, even if d declares the output as deferred.
//
// It returns the same errors as [Derivation.HashModulo].
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
	paths.entries = make([]Entry[string, storepath.Path], 0, d.Outputs.Len())
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

// FillOutputPaths computes the output paths and sets those that are missing, as "nix derivation
// add" does: deferred outputs become input-addressed if they need not be deferred, fixed outputs get
// their paths, and so do the variables of these outputs if they are missing or empty. All paths that
// exist already must be correct. Nix 2.34 rejects a derivation in which the variable of a deferred
// output is missing. FillOutputPaths adds the variable before it computes the paths, because the
// variable is part of the hash.
//
// It returns the same errors as [Derivation.HashModulo] and [Derivation.CheckOutputPaths]. After an
// error, d is unchanged.
func (d *Derivation) FillOutputPaths(inputs InputHashes, o *ModuloOptions) error {
	filled := *d
	filled.Outputs, filled.Env = d.Outputs.Clone(), d.Env.Clone()
	for name, output := range d.Outputs.All() {
		if output.kind == Deferred && !d.Env.Has(name) {
			filled.Env.Set(name, "")
		}
	}
	paths, err := filled.OutputPaths(inputs, o)
	if err != nil {
		return err
	}
	for name, path := range paths.All() {
		output, _ := filled.Outputs.Get(name)
		switch {
		case output.kind == Deferred:
			output = InputAddressedOutput(path)
		case output.kind == Fixed:
			output.path = path // replaces the path in d, which is not reliable
		case output.path != path:
			return wrongPathError(d.Name, name, path, output.path)
		default:
			continue // Nix does not check the variable if the path exists already
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

// CheckOutputPaths computes the output paths and compares them with the paths in the derivation. It
// returns an [*InvalidError] if an output has a wrong path, has a path but must be deferred, or has
// none but must have one, and if the environment variable of an output with a known path is missing
// or different. It also returns the errors of [Derivation.HashModulo].
func (d *Derivation) CheckOutputPaths(inputs InputHashes, o *ModuloOptions) error {
	paths, err := d.OutputPaths(inputs, o)
	if err != nil {
		return err
	}
	if problems := d.checkOutputs(paths); len(problems) > 0 {
		return problems[0]
	}
	return nil
}

// checkOutputs compares the outputs and their variables with the computed paths.
func (d *Derivation) checkOutputs(paths Map[string, storepath.Path]) (problems []*InvalidError) {
	for i := range d.Outputs.entries {
		name, output := d.Outputs.entries[i].Key, &d.Outputs.entries[i].Value
		path, known := paths.Get(name)
		switch {
		case !known && output.path != "":
			problems = append(problems, &InvalidError{
				Name: d.Name, Field: outputField(name),
				Reason: "an input is content-addressed and not built yet, so the output cannot have a path",
				Want:   "no path", Got: string(output.path),
			})
		case known && output.path != path:
			problems = append(problems, wrongPathError(d.Name, name, path, output.path))
		case known:
			if e := d.checkVariable(name, path); e != nil {
				problems = append(problems, e)
			}
		}
	}
	return problems
}

// checkVariable returns an error unless the variable of an output has its path.
func (d *Derivation) checkVariable(output string, path storepath.Path) *InvalidError {
	value, ok := d.Env.Get(output)
	if ok && value == string(path) {
		return nil
	}
	e := &InvalidError{Name: d.Name, Field: envField(output), Reason: "it must be the path of the output", Want: string(path), Got: value}
	if !ok {
		e.Reason, e.Got = "the variable of an output is missing", "no such variable"
	}
	return e
}

func wrongPathError(drv, output string, want, got storepath.Path) *InvalidError {
	return &InvalidError{Name: drv, Field: outputField(output), Reason: "the path differs from the computed one", Want: string(want), Got: string(got)}
}

func envField(name string) string { return "env \"" + name + "\"" }
