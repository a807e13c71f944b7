package pixpkgs

import (
	"slices"

	"pix/derivation"
	"pix/storepath"
)

// Derive makes a package of a Spec: it finds out what it depends on, and computes its
// paths. The Spec is copied, so changing it afterwards changes nothing.
//
// The error is an [*Error] that names the package and the field at fault. In it may be an
// [*UndeclaredError], an [*OutputError], a [*CycleError] or errors of packages storepath,
// nixhash and derivation.
func Derive(s Spec) (*Package, error) {
	n, err := normalise(&s)
	if err != nil {
		return nil, err
	}
	if n, err = n.resolve(); err != nil {
		return nil, err
	}
	return n.derive()
}

// derive makes the package. There are no lazy packages in n.
func (n *normal) derive() (*Package, error) {
	in, err := n.collect()
	if err != nil {
		return nil, err
	}
	if n, err = n.declare(in); err != nil {
		return nil, err
	}
	d, err := n.derivation(in)
	if err != nil {
		return nil, err
	}
	n.spec.lenient = nil
	p := &Package{normal: n, drv: d, deps: in.pkgs()}
	return p, p.compute(in)
}

// derivation returns the derivation without those paths that are computed from it.
func (n *normal) derivation(in *inputs) (*derivation.Derivation, error) {
	kind, err := n.outputKind()
	if err != nil {
		return nil, err
	}
	d := &derivation.Derivation{
		Name: n.spec.Name, Dir: n.dir,
		Platform: n.spec.System, Builder: n.builder.String(),
		InputSources: derivation.SetOf(in.paths...),
	}
	if d.Builder == "" && n.spec.lenient == nil {
		return nil, n.failf("Builder", "it is missing")
	}
	for _, arg := range n.args {
		d.Args = append(d.Args, arg.String())
	}
	if d.Env, err = n.environment(kind); err != nil {
		return nil, err
	}
	for _, name := range n.outputs {
		d.Outputs.Set(name, kind)
	}
	inputs := make([]derivation.Entry[storepath.Path, derivation.InputOutputs], len(in.packages))
	for i := range in.packages {
		inputs[i].Key = in.packages[i].pkg.path
		inputs[i].Value = derivation.OutputsOf(in.packages[i].outputs...)
		inputs[i].Value.Dynamic = in.packages[i].dynamic
	}
	d.InputDerivations = derivation.MapOf(inputs...)
	return d, nil
}

// environment returns the environment variables, with empty ones for the outputs whose
// paths are not known yet.
func (n *normal) environment(kind derivation.Output) (derivation.Map[string, string], error) {
	var none derivation.Map[string, string]
	env := make([]derivation.Entry[string, string], 0, len(n.env)+len(n.outputs)+8)
	set := func(name, value string) {
		env = append(env, derivation.Entry[string, string]{Key: name, Value: value})
	}
	for i := range n.env {
		name := n.env[i].name
		if err := n.checkReserved("Env", name); err != nil && !n.spec.Bare {
			return none, err
		}
		set(name, n.env[i].value.String())
	}
	if n.attrs != nil {
		text, err := n.json()
		if err != nil {
			return none, err
		}
		set(derivation.StructuredAttrsKey, text)
	} else if !n.spec.Bare {
		for _, v := range n.ownVariables() {
			set(v.name, v.value.String())
		}
		if n.named {
			set("outputs", coerce(n.outputs).String())
		}
	}
	for _, name := range n.outputs {
		set(name, outputVariable(kind, name))
	}
	return derivation.MapOf(env...), nil // of two with one name the last counts
}

// outputVariable returns the variable of an output before paths are computed.
func outputVariable(kind derivation.Output, name string) string {
	switch kind.Kind() {
	case derivation.Fixed:
		return string(kind.Path())
	case derivation.Floating, derivation.Impure:
		return string(storepath.OwnPlaceholder(name))
	case derivation.InputAddressed, derivation.Deferred:
	}
	return ""
}

// json returns the structured attributes as Nix spells them.
func (n *normal) json() (string, error) {
	all := make(map[string]any, len(n.attrs)+8)
	for name, value := range n.attrs {
		if err := n.checkReserved("Attrs", name); err != nil && !n.spec.Bare {
			return "", err
		}
		all[name] = value
	}
	if !n.spec.Bare {
		for _, v := range n.ownVariables() {
			all[v.name] = v.value
		}
		if n.named {
			list, err := treeOf(n.outputs, 0)
			if err != nil {
				return "", n.fail("Outputs", err)
			}
			all["outputs"] = list
		}
	}
	text, err := appendMembers(nil, all)
	if err != nil {
		return "", n.fail("Attrs", err)
	}
	d := derivation.Derivation{Name: n.spec.Name}
	d.Env.Set(derivation.StructuredAttrsKey, string(text))
	spelled, _, err := d.NormalizedStructuredAttrs()
	if err != nil {
		return "", n.fail("Attrs", err)
	}
	return spelled, nil
}

// compute fills in all that follows from the derivation.
func (p *Package) compute(in *inputs) error {
	paths, err := p.drv.OutputPaths(in.hash, nil)
	if err != nil {
		return p.normal.fail("", err)
	}
	for name, path := range paths.All() {
		if o, _ := p.drv.Outputs.Get(name); o.Kind() == derivation.Deferred {
			p.drv.Outputs.Set(name, derivation.InputAddressedOutput(path))
			p.drv.Env.Set(name, string(path))
		}
	}
	if err := p.drv.Validate(); err != nil {
		return p.normal.fail("", err)
	}
	if p.hash, err = p.drv.HashModulo(derivation.AsInput, in.hash, nil); err != nil {
		return p.normal.fail("", err)
	}
	if p.path, err = p.drv.Path(); err != nil {
		return p.normal.fail("", err)
	}
	p.takeSources(in)
	return p.setOutputs(paths)
}

// takeSources remembers what must be in the store before the .drv file.
func (p *Package) takeSources(in *inputs) {
	for _, path := range slices.Compact(slices.Sorted(slices.Values(in.paths))) {
		if o := in.objects[path]; o != nil {
			p.objects = append(p.objects, o)
		} else if in.drvs[path] == nil {
			p.sources = append(p.sources, path)
		}
	}
}

// setOutputs says what each output prints as.
func (p *Package) setOutputs(paths derivation.Map[string, storepath.Path]) error {
	p.outputs = make([]output, len(p.normal.outputs))
	for i, name := range p.normal.outputs {
		path, known := paths.Get(name)
		text := string(path)
		if !known {
			placeholder, err := storepath.OutputPlaceholder(p.path, name)
			if err != nil {
				return p.normal.fail("", err)
			}
			text = string(placeholder)
		}
		p.outputs[i] = output{name, text, path}
	}
	return nil
}
