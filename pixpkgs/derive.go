package pixpkgs

import (
	"slices"
	"strings"

	"pix/derivation"
	"pix/storepath"
)

// Derive creates a package from a Spec: it finds the dependencies and computes the paths. It copies the
// Spec, so later changes to it have no effect.
//
// The error is an [*Error] with the name of the package and the field. It may wrap an
// [*UndeclaredError], an [*OutputError], a [*CycleError] or an error of packages storepath, nixhash and
// derivation.
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

// derive creates the package, which keeps n. n must not contain lazy packages.
func (n *normalSpec) derive() (*Package, error) {
	in, err := n.collect()
	if err != nil {
		return nil, err
	}
	if err := n.declare(in); err != nil {
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

// derivation returns the derivation without the paths that are computed from it.
func (n *normalSpec) derivation(in *inputSet) (*derivation.Derivation, error) {
	kind, err := n.outputKind()
	if err != nil {
		return nil, err
	}
	d := &derivation.Derivation{
		Name: n.spec.Name, Dir: n.dir,
		Platform: n.spec.System, Builder: n.builder.String(),
		InputSources: derivation.SetOf(in.paths...), InputDerivations: in.derivations(),
	}
	if d.Builder == "" && n.spec.lenient == nil {
		return nil, n.failf("Builder", "it is missing")
	}
	d.Args = slices.Grow(d.Args, len(n.args))
	for i := range n.args {
		d.Args = append(d.Args, n.args[i].String())
	}
	if d.Env, err = n.environment(kind, d.Builder); err != nil {
		return nil, err
	}
	var few [4]derivation.Entry[string, derivation.Output]
	outputs := few[:0]
	for _, name := range n.outputs {
		outputs = append(outputs, derivation.Entry[string, derivation.Output]{Key: name, Value: kind})
	}
	d.Outputs = derivation.MapOf(outputs...)
	return d, nil
}

// environment returns the environment variables. The variables of outputs whose paths are not known
// yet are empty.
func (n *normalSpec) environment(kind derivation.Output, builder string) (derivation.Map[string, string], error) {
	var none derivation.Map[string, string]
	var few [32]derivation.Entry[string, string] // enough for most packages
	env := few[:0]
	set := func(name, value string) {
		env = append(env, derivation.Entry[string, string]{Key: name, Value: value})
	}
	for i := range n.env {
		name := n.env[i].name
		if err := n.checkReserved("Env", name, n.env[i].value); err != nil && !n.spec.Bare {
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
		for name, value := range n.ownVariables() {
			set(name, value)
		}
		set("builder", builder)
		if n.named {
			set("outputs", strings.Join(n.outputs, " "))
		}
	}
	for _, name := range n.outputs {
		set(name, outputVariable(kind, name))
	}
	return derivation.MapOf(env...), nil // if two have the same name, the last one counts
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

// json returns the structured attributes in the format of Nix.
func (n *normalSpec) json() (string, error) {
	all := make(map[string]any, len(n.attrs)+8)
	for name, value := range n.attrs {
		if err := n.checkReserved("Attrs", name, value); err != nil && !n.spec.Bare {
			return "", err
		}
		all[name] = value
	}
	if !n.spec.Bare {
		for name, value := range n.ownVariables() {
			all[name] = literal(value)
		}
		all["builder"] = n.builder
		if n.named {
			list, err := treeOf(n.outputs)
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
	normalized, _, err := d.NormalizedStructuredAttrs()
	if err != nil {
		return "", n.fail("Attrs", err)
	}
	return normalized, nil
}

// compute sets the fields that are computed from the derivation.
func (p *Package) compute(in *inputSet) error {
	hashes := derivation.InputHashes(in.hash)
	paths, err := p.drv.OutputPaths(hashes, nil)
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
	if p.hash, err = p.drv.HashModulo(derivation.AsInput, hashes, nil); err != nil {
		return p.normal.fail("", err)
	}
	if p.path, err = p.drv.Path(); err != nil {
		return p.normal.fail("", err)
	}
	p.setSources(in)
	return p.setOutputs(paths)
}

// setSources records the objects that must be in the store before the .drv file.
func (p *Package) setSources(in *inputSet) {
	if len(in.paths) == 0 {
		return
	}
	for _, path := range slices.Compact(slices.Sorted(slices.Values(in.paths))) {
		if o := in.objects[path]; o != nil {
			p.objects = append(p.objects, o)
		} else if in.drvs[path] == nil {
			p.sources = append(p.sources, path)
		}
	}
}

// setOutputs sets the paths and texts of the outputs.
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
