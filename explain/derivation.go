package explain

import (
	"context"
	"slices"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// DerivationOptions are the options for explaining a derivation. A nil pointer is the zero value.
type DerivationOptions struct {
	// Outputs are the outputs to explain. Nil means all.
	Outputs []string
	// Text is the text of the .drv file, which may be in another form than the canonical one. "" means the canonical form.
	Text string
	// Store is asked for the outputs of derivations whose paths are known only after a build. It may be nil.
	Store store.Store
}

// explains reports whether the options select an output.
func (o *DerivationOptions) explains(output string) bool {
	return o.Outputs == nil || slices.Contains(o.Outputs, output)
}

// A Drv is a derivation with its path, and a loader of its inputs.
type Drv struct {
	Path storepath.Path
	*derivation.Derivation
	Inputs derivation.Loader
}

// Derivation explains a derivation: its path, the modulo hash, and the path of each output. It loads the derivations on which the
// modulo hash depends.
//
// It returns the errors of [derivation.LoadClosure], [derivation.Derivation.HashModulo], [derivation.Derivation.Path] and of the store.
func Derivation(ctx context.Context, d Drv, o *DerivationOptions) (*Explanation, error) {
	if o == nil {
		o = &DerivationOptions{}
	}
	kind, err := d.Kind()
	if err != nil {
		return nil, err
	}
	if _, err := d.Derivation.Path(); err != nil { // the store directory is unknown, or a path is invalid
		return nil, err
	}
	e := &Explanation{Subject: string(d.Path), Kind: kind.String() + " derivation"}
	e.add(Step{
		Name: StepFields, Op: OpShow, Inputs: fields(d.Derivation), Title: "The fields of the derivation",
		Why: "A derivation is a file in the notation ATerm. These are its fields, in order.",
	})
	if kind == derivation.Fixed {
		err = e.addFixed(d.Derivation)
	} else {
		err = e.addHashed(ctx, d, kind, o)
	}
	if err != nil {
		return nil, err
	}
	return e, e.addDrvPath(d.Path, d.Derivation, o.Text)
}

// addHashed adds the steps for outputs that are not fixed.
func (e *Explanation) addHashed(ctx context.Context, d Drv, kind derivation.OutputKind, o *DerivationOptions) error {
	inputs, err := loadInputs(ctx, d)
	if err != nil {
		return err
	}
	hash, modulo, err := e.addModulo(d.Derivation, kind, inputs)
	switch {
	case err != nil:
		return err
	case kind == derivation.Floating || kind == derivation.Impure:
		return e.addFloating(ctx, d, o)
	case hash.Deferred:
		return e.addResolved(ctx, d, o)
	}
	return e.addOutputs(d.Derivation, hash.Hash, modulo, o)
}

// addDrvPath adds the steps from the text of a .drv file to its path. The text is "" if it is canonical.
func (e *Explanation) addDrvPath(path storepath.Path, d *derivation.Derivation, file string) error {
	if canonical := d.String(); file == "" {
		file = canonical
	} else if file != canonical {
		e.Problems = append(e.Problems, "the text of the derivation is not in the canonical form, in which Nix writes it")
	}
	var outputs []Input
	for i := range e.Steps {
		if s := &e.Steps[i]; s.Name == StepPath || s.Name == StepPlaceholderPath {
			outputs = append(outputs, e.from("output "+s.Output, i+1))
		}
	}
	step := Step{
		Name: StepText, Op: HashOp(nixhash.SHA256), Text: file, Inputs: outputs, Title: "The text of the derivation",
		Why: "The derivation is a text, like the results of builtins.toFile, so its path follows from its bytes. They contain the paths of the outputs.",
	}
	step.Inputs = step.occurring()
	text := e.add(step)
	hash := nixhash.Sum(nixhash.SHA256, []byte(e.Steps[text-1].Text))
	name := d.Name + storepath.DerivationExt
	ca, err := storepath.NewContentAddress(storepath.Text, hash)
	if err != nil {
		return err
	}
	references := slices.Collect(d.References().All())
	fingerprint, err := d.Dir.FixedOutputFingerprint(name, ca, storepath.References{Others: references})
	if err != nil {
		return err
	}
	inputs := append([]Input{e.from("SHA-256 of the text", text)}, referenceInputs(references)...)
	e.check("the path of the derivation", e.addPath("", fingerprint, d.Dir, name, inputs...), string(path))
	return nil
}

// fields returns the fields of a derivation by name, in the order of its text.
func fields(d *derivation.Derivation) (all []Input) {
	add := func(name, value string) { all = append(all, Input{Name: name, Value: value}) }
	for name, o := range d.Outputs.All() {
		add("output "+name+": path", string(o.Path()))
		add("output "+name+": method and algorithm", o.MethodAlgorithm())
		add("output "+name+": hash", o.HashField())
	}
	for path, used := range d.InputDerivations.All() {
		for _, text := range derivedPaths(path, used) {
			add("input derivation", text)
		}
	}
	for path := range d.InputSources.All() {
		add("input source", string(path))
	}
	add("platform", d.Platform)
	add("builder", d.Builder)
	for _, arg := range d.Args {
		add("argument", arg)
	}
	for name, value := range d.Env.All() {
		add("variable "+name, value)
	}
	return all
}

// derivedPaths returns an input derivation with its used outputs in Nix's notation, and each dynamic derivation that it makes.
func derivedPaths(path storepath.Path, used derivation.InputOutputs) (texts []string) {
	paths, err := used.DerivedPaths(derivation.Opaque{Path: path})
	for _, p := range paths {
		texts = append(texts, p.String())
	}
	if err != nil || len(texts) == 0 { // too many, or no output is used
		texts = append(texts, string(path))
	}
	return texts
}

// addFixed adds the steps for a derivation with a fixed output.
func (e *Explanation) addFixed(d *derivation.Derivation) error {
	name, o := d.Outputs.At(0)
	ca := o.ContentAddress()
	content := e.addContent(name, ca, "", false)
	path, err := e.addContentAddress(name, d.Dir, storepath.OutputName(d.Name, name), ca, content, storepath.References{})
	if err != nil {
		return err
	}
	e.checkOutput(d, name, o, path)
	output := len(e.Steps) // the step of the path
	text, err := d.ModuloText(derivation.ForOutputs, nil, nil)
	if err != nil {
		return err
	}
	e.add(Step{
		Name: StepModulo, Op: HashOp(nixhash.SHA256), Text: text,
		Inputs: []Input{{Name: "method and algorithm", Value: ca.MethodAlgorithm()}, {Name: "hash of the contents", Value: ca.Hash().Base16()}, e.from("path of the output", output)},
		Title:  "The modulo hash",
		Why: "In derivations that use this output, this hash replaces the path of the derivation. It depends on the contents and not on how they are made. " +
			"The text is not the inner text: the path of the output follows the last colon.",
	})
	return nil
}

// checkOutput compares the path and the variable of an output with the computed path.
func (e *Explanation) checkOutput(d *derivation.Derivation, name string, o derivation.Output, path string) {
	if o.Path() != "" || o.Kind() == derivation.Deferred {
		e.check("the path of the output '"+name+"'", path, string(o.Path()))
	}
	if value, ok := d.Env.Get(name); ok {
		e.check("the path of the output '"+name+"'", path, value)
	}
}

// addOutputs adds the steps for the paths of input-addressed outputs. modulo is the step of the modulo hash.
func (e *Explanation) addOutputs(d *derivation.Derivation, hash nixhash.Hash, modulo int, o *DerivationOptions) error {
	for name, output := range d.Outputs.All() {
		if !o.explains(name) {
			continue
		}
		fingerprint, err := d.Dir.OutputFingerprint(name, hash, d.Name)
		if err != nil {
			return err
		}
		path := e.addPath(name, fingerprint, d.Dir, storepath.OutputName(d.Name, name),
			Input{Name: "type", Value: "output:" + name}, e.from("modulo hash", modulo))
		e.checkOutput(d, name, output, path)
	}
	return nil
}
