package derivation

import (
	"fmt"
	"strings"

	"pix/internal/firstchar"
	"pix/nixhash"
	"pix/storepath"
)

// Validate returns the first of [Derivation.Problems], an [*InvalidError], or nil.
func (d *Derivation) Validate() error {
	if problems := d.Problems(); len(problems) > 0 {
		return problems[0]
	}
	return nil
}

// Problems returns all reasons why Nix 2.34 would not write d to its store or build it, except reasons that
// only the inputs show:
//
//   - an invalid name of the derivation or of an output's path;
//   - outputs that [Derivation.Kind] rejects: none, different kinds, or an invalid combination;
//   - a hash algorithm that the method of an output does not support;
//   - a fixed output whose path or variable differs from the computed path;
//   - an input that is not a derivation, or has no used outputs;
//   - paths outside of d.Dir;
//   - a platform or an output name that cannot be parsed again after it was written;
//   - structured attributes that are not a JSON object.
//
// [Derivation.CheckOutputPaths] makes the checks that need the inputs.
func (d *Derivation) Problems() []*InvalidError {
	v := validation{d: d}
	v.name()
	v.outputs()
	v.inputs()
	if i := strings.IndexAny(d.Platform, "\"\\"); i >= 0 {
		v.add("platform", "it contains "+firstchar.Quote(d.Platform[i:])+", which Nix does not escape here, so the text could not be parsed again")
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
	if storepath.CheckName(v.d.Name) == nil && len(v.d.Name)+len(storepath.DerivationExt) <= storepath.MaxNameLen {
		return
	}
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
		if name == "drvPath" {
			v.add(outputField(name), "no output may have this name, because it stands for the derivation itself")
		} else if err := checkOutputName(name); err != nil {
			v.add(outputField(name), err.Error())
		} else if err := storepath.CheckName(storepath.OutputName(d.Name, name)); err != nil && storepath.CheckName(d.Name) == nil {
			v.add(outputField(name), err.Error())
		}
		if reason := checkHashAlgorithm(output.method, output.Algorithm()); reason != "" && output.MethodAlgorithm() != "" {
			v.add(outputField(name), reason)
		}
		if output.kind == InputAddressed && !isPlainPath(d.Dir, string(output.path)) {
			v.path(outputField(name), output.path)
		}
	}
	if kind == Fixed && len(v.problems) == 0 {
		v.fixed()
	}
}

// checkHashAlgorithm returns why m does not support a, or "" if it does.
func checkHashAlgorithm(m storepath.Method, a nixhash.Algorithm) string {
	switch {
	case m == storepath.Text && a != nixhash.SHA256:
		return "the method text supports only sha256"
	case m == storepath.Git && a != nixhash.SHA1 && a != nixhash.SHA256:
		return "the method git supports only sha1 and sha256"
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
	v.problems = append(v.problems, v.d.checkOutputs(paths)...)
}

func (v *validation) inputs() {
	for path, used := range v.d.InputDerivations.All() {
		if !isPlainPath(v.d.Dir, string(path)) {
			v.path(inputField(path), path)
		}
		if !path.IsDerivation() {
			v.add(inputField(path), "it is not a derivation, because its name does not end in .drv")
		}
		v.inputOutputs(path, used, 0)
	}
	for path := range v.d.InputSources.All() {
		if !isPlainPath(v.d.Dir, string(path)) {
			v.path("source "+string(path), path)
		}
	}
}

func inputField(path storepath.Path) string { return "input " + string(path) }

// inputOutputs checks the used outputs of an input.
func (v *validation) inputOutputs(input storepath.Path, used InputOutputs, depth int) {
	if depth > maxDynamicDepth {
		v.add(inputField(input), fmt.Sprintf("outputs of dynamic derivations are nested more than %d deep", maxDynamicDepth))
		return
	}
	if used.Names.Len() == 0 && used.Dynamic.Len() == 0 {
		v.add(inputField(input), "none of its outputs is used")
	}
	for _, name := range used.Names.keys {
		v.outputName(input, name)
	}
	for name := range used.Dynamic.Keys() {
		v.outputName(input, name)
	}
	for _, child := range used.Dynamic.All() {
		v.inputOutputs(input, child, depth+1)
	}
}

// outputName checks the name of a used output.
func (v *validation) outputName(input storepath.Path, name string) {
	if err := checkOutputName(name); err != nil {
		v.add(inputField(input), err.Error())
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
