package pixpkgs

import (
	"fmt"
	"slices"
	"strings"

	"pix/derivation"
	"pix/storepath"
)

// FromDerivations returns the packages of a closure of .drv files by their paths, so that
// one of them can be overridden or replaced, and new ones be built on top. Each has the
// path that it had.
//
// Where a text in a file mentions one of its inputs, it becomes a mention, which changes
// with the input. It is the same with paths that the file does not have as inputs but that
// are of the closure; what is not known is taken as mere text.
//
// The error is an [*Error] for a derivation that Nix would not write so, and so cannot be
// derived again.
func FromDerivations(c *derivation.Closure) (map[storepath.Path]*Package, error) {
	packages := make(map[storepath.Path]*Package, c.Len())
	lenient := &leniency{known: map[string]part{}}
	for path, d := range c.All() {
		p, err := fromDerivation(path, d, packages, lenient)
		if err != nil {
			return nil, err
		}
		packages[path] = p
		lenient.learn(p)
	}
	return packages, nil
}

// learn makes p known to files that mention it without having it as an input.
func (l *leniency) learn(p *Package) {
	l.known[p.path.HashPart()] = part{kind: drvPart, pkg: p}
	for i := range p.outputs {
		l.known[p.outputs[i].key()] = part{kind: outputPart, pkg: p, text: p.outputs[i].name}
	}
}

// fromDerivation returns the package of one file. It tries first to understand the
// variables that Nix makes of other attributes, so that these follow when the package is
// overridden.
func fromDerivation(path storepath.Path, d *derivation.Derivation, packages map[storepath.Path]*Package, l *leniency) (*Package, error) {
	spec, err := specOf(d, packages)
	if err != nil {
		return nil, err
	}
	spec.lenient = l
	if full, ok := understood(spec); ok {
		if p, err := Derive(full); err == nil && p.path == path {
			return p, nil
		}
	}
	p, err := Derive(spec)
	if err != nil {
		return nil, err
	}
	if p.path != path {
		return nil, &Error{Package: d.Name, Err: fmt.Errorf("the derivation %s is %s when it is derived again, so it is not as Nix writes it", path, p.path)}
	}
	return p, nil
}

// specOf returns the bare Spec of a derivation.
func specOf(d *derivation.Derivation, packages map[storepath.Path]*Package) (Spec, error) {
	s := Spec{Name: d.Name, System: d.Platform, Builder: d.Builder, Dir: d.Dir, Bare: true, Env: map[string]any{}}
	for _, arg := range d.Args {
		s.Args = append(s.Args, arg)
	}
	for name, value := range d.Env.All() {
		if !d.Outputs.Has(name) {
			s.Env[name] = value
		}
	}
	for path, used := range d.InputDerivations.All() {
		pkg := packages[path]
		if pkg == nil {
			return s, &Error{Package: d.Name, Err: fmt.Errorf("its input %s is not in the closure", path)}
		}
		for name := range used.Names.All() {
			s.Deps = append(s.Deps, pkg.Out(name))
		}
		if used.Dynamic.Len() > 0 {
			s.dynamic = append(s.dynamic, dynamicInput{pkg, used.Dynamic})
		}
	}
	for path := range d.InputSources.All() {
		if pkg := packages[path]; pkg != nil {
			s.Deps = append(s.Deps, pkg.Drv())
		} else {
			s.Deps = append(s.Deps, StorePath(path))
		}
	}
	s.Outputs = outputOrder(d)
	return s, setKind(&s, d)
}

// outputOrder returns the names of the outputs, the default one first: in the order of the
// variable that has them, or else "out" first.
func outputOrder(d *derivation.Derivation) []string {
	names := slices.Collect(d.Outputs.Keys())
	declared, _ := d.Env.Get("outputs")
	if order := strings.Fields(declared); slices.Equal(slices.Sorted(slices.Values(order)), names) {
		return order
	}
	if i := slices.Index(names, "out"); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "out")
	}
	return names
}

// setKind says in s of which kind the outputs of d are.
func setKind(s *Spec, d *derivation.Derivation) error {
	kind, err := d.Kind()
	if err != nil {
		return &Error{Package: d.Name, Err: err}
	}
	_, o := d.Outputs.At(0)
	switch kind {
	case derivation.Fixed:
		s.OutputHash = o.ContentAddress().Hash().String()
		s.OutputHashMode = o.Method().String()
	case derivation.Floating, derivation.Impure:
		s.ContentAddressed, s.Impure = kind == derivation.Floating, kind == derivation.Impure
		s.OutputHashAlgo, s.OutputHashMode = o.Algorithm().String(), o.Method().String()
	case derivation.InputAddressed, derivation.Deferred:
	}
	return nil
}

// understood returns a Spec that is not bare and may mean the same as a bare one, and false
// if there is none.
func understood(s Spec) (Spec, bool) {
	text := func(name string) string {
		value, _ := s.Env[name].(string)
		return value
	}
	if text("name") != s.Name || text("system") != s.System || text("builder") != s.Builder || s.Env[derivation.StructuredAttrsKey] != nil {
		return s, false
	}
	s.Bare = false
	s.OutputHash, s.OutputHashAlgo, s.OutputHashMode = text("outputHash"), text("outputHashAlgo"), text("outputHashMode")
	if s.Env["outputs"] == nil {
		s.Outputs = nil
	}
	env := make(map[string]any, len(s.Env))
	for name, value := range s.Env {
		switch name {
		case "name", "system", "builder", "outputs", "outputHash", "outputHashAlgo", "outputHashMode":
		default:
			env[name] = value
		}
	}
	s.Env = env
	return s, true
}
