package derivation

import (
	"fmt"
	"slices"
	"strings"

	"pix/nixhash"
	"pix/storepath"
)

// Validate returns the first of [Derivation.Problems], an [*InvalidError], or nil if
// there is none.
func (d *Derivation) Validate() error {
	if problems := d.Problems(); len(problems) > 0 {
		return problems[0]
	}
	return nil
}

// Problems returns all reasons for which d is not a derivation that Nix 2.34 would
// write to its store and build, as far as they can be known without its inputs:
//
//   - a name, or that of an output's path, that no store path can have;
//   - outputs of different kinds, no outputs, or other combinations that
//     [Derivation.Kind] refuses;
//   - a hash algorithm that does not go with the method of an output;
//   - a fixed output with another path than that computed, or whose variable does not
//     have it;
//   - an input that is no derivation, or of which no output is used;
//   - paths that do not all lie in d.Dir;
//   - a platform or an output name that cannot be read again once it is written;
//   - structured attributes that are not the JSON of an object.
//
// [Derivation.CheckOutputPaths] checks what needs the inputs.
func (d *Derivation) Problems() []*InvalidError {
	v := validation{d: d}
	v.name()
	v.outputs()
	v.inputs()
	if i := strings.IndexAny(d.Platform, "\"\\"); i >= 0 {
		v.add("platform", fmt.Sprintf("it has a %q, and as Nix does not escape it here the text could not be read again", d.Platform[i]))
	}
	if _, _, err := d.structured(); err != nil {
		v.problems = append(v.problems, err.(*InvalidError))
	}
	return v.problems
}

type validation struct {
	d        *Derivation
	problems []*InvalidError
}

func (v *validation) add(field, reason string) {
	v.problems = append(v.problems, &InvalidError{Name: v.d.Name, Field: field, Reason: reason})
}

func (v *validation) name() {
	if err := storepath.CheckName(v.d.Name + storepath.DerivationExt); err != nil {
		v.add("name", err.Error())
	} else if err := storepath.CheckName(v.d.Name); err != nil {
		v.add("name", err.Error())
	}
}

func (v *validation) outputs() {
	d := v.d
	kind, err := d.Kind()
	if err != nil {
		v.problems = append(v.problems, err.(*InvalidError))
	}
	for i := range d.Outputs.entries {
		name, output := d.Outputs.entries[i].Key, &d.Outputs.entries[i].Value
		field := outputField(name)
		if name == "drvPath" {
			v.add(field, "no output may have this name, for it means the derivation itself")
		} else if err := checkOutputName(name); err != nil {
			v.add(field, err.Error())
		} else if err := storepath.CheckName(storepath.OutputName(d.Name, name)); err != nil && storepath.CheckName(d.Name) == nil {
			v.add(field, err.Error())
		}
		if reason := whyNotHashed(output.method, output.Algorithm()); reason != "" && output.MethodAlgorithm() != "" {
			v.add(field, reason)
		}
		if output.kind == InputAddressed {
			v.path(field, output.path)
		}
	}
	if kind == Fixed && len(v.problems) == 0 {
		v.fixed()
	}
}

// whyNotHashed returns why objects cannot be hashed in that way, or "".
func whyNotHashed(m storepath.Method, a nixhash.Algorithm) string {
	switch {
	case m == storepath.Text && a != nixhash.SHA256:
		return "the method text goes with sha256 alone"
	case m == storepath.Git && a != nixhash.SHA1 && a != nixhash.SHA256:
		return "the method git goes with sha1 and sha256 alone"
	}
	return ""
}

// fixed compares the path of a fixed output with the computed one.
func (v *validation) fixed() {
	paths, err := v.d.OutputPaths(nil, nil)
	if err != nil {
		v.add("outputs", err.Error())
		return
	}
	v.problems = append(v.problems, v.d.wrongOutputs(paths)...)
}

func (v *validation) inputs() {
	for path, used := range v.d.InputDerivations.All() {
		field := "input " + string(path)
		v.path(field, path)
		if !path.IsDerivation() {
			v.add(field, "it is no derivation, for its name does not end in .drv")
		}
		v.inputOutputs(field, used, 0)
	}
	for path := range v.d.InputSources.All() {
		v.path("source "+string(path), path)
	}
}

// inputOutputs checks which outputs of an input are used.
func (v *validation) inputOutputs(field string, used InputOutputs, depth int) {
	if depth > maxDynamicDepth {
		v.add(field, fmt.Sprintf("outputs of dynamic derivations are nested more than %d deep", maxDynamicDepth))
		return
	}
	if used.Names.Len() == 0 && used.Dynamic.Len() == 0 {
		v.add(field, "none of its outputs is used")
	}
	for _, name := range slices.Concat(used.Names.keys, slices.Collect(used.Dynamic.Keys())) {
		if err := checkOutputName(name); err != nil {
			v.add(field, err.Error())
		}
	}
	for _, child := range used.Dynamic.All() {
		v.inputOutputs(field, child, depth+1)
	}
}

// path checks that a path lies in the derivation's store directory.
func (v *validation) path(field string, path storepath.Path) {
	if v.d.Dir == "" {
		v.problems = append(v.problems, v.d.unknownDir())
		return
	}
	if _, err := v.d.Dir.Parse(string(path)); err != nil {
		v.add(field, err.Error())
	}
}
