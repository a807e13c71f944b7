package pixpkgs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"pix/derivation"
	"pix/storepath"
)

// FromDerivations returns the packages of a closure of .drv files by path. They can be overridden or
// replaced, and new packages can depend on them. Each has the path of its file.
//
// If a text in a file contains the path of an input, it becomes a mention, which changes with the
// input. The same applies to paths in the closure that are not inputs of the file. Unknown paths are
// plain text.
//
// The error is an [*Error] for a derivation that Nix would not write like this, so it cannot be derived
// again.
func FromDerivations(c *derivation.Closure) (map[storepath.Path]*Package, error) {
	packages := make(map[storepath.Path]*Package, c.Len())
	lenient := &leniency{known: map[string]part{}}
	for path, d := range c.All() {
		p, err := fromDerivation(path, d, packages, lenient)
		if err != nil {
			return nil, err
		}
		packages[path] = p
		lenient.add(p)
	}
	return packages, nil
}

// add makes p known to later files that mention it without having it as an input.
func (l *leniency) add(p *Package) {
	l.known[p.path.HashPart()] = part{kind: drvPart, pkg: p}
	for i := range p.outputs {
		l.known[p.outputs[i].key()] = part{kind: outputPart, pkg: p, text: p.outputs[i].name}
	}
}

// fromDerivation returns the package of one file. It first tries to convert the variables that Nix
// creates from other attributes back to fields, so that they change when the package is overridden.
func fromDerivation(path storepath.Path, d *derivation.Derivation, packages map[storepath.Path]*Package, l *leniency) (*Package, error) {
	spec, err := specOf(d, packages)
	if err != nil {
		return nil, err
	}
	spec.lenient = l
	if full, ok := fullSpec(spec); ok {
		if p, err := Derive(full); err == nil && p.path == path {
			return p, nil
		}
	}
	p, err := Derive(spec)
	if err != nil {
		return nil, err
	}
	if p.path != path {
		return nil, &Error{Package: d.Name, Err: fmt.Errorf("deriving %s again results in %s, so Nix would not write it like this", path, p.path)}
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
		for _, p := range dynamicParts(pkg, used.Dynamic) {
			s.Deps = append(s.Deps, String{parts: []part{p}})
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

// outputOrder returns the names of the outputs, with the default output first. If the
// attribute outputs lists them, it determines the order. Otherwise "out" is first.
func outputOrder(d *derivation.Derivation) []string {
	names := slices.Collect(d.Outputs.Keys())
	declared, _ := d.Env.Get("outputs")
	order := strings.Fields(declared)
	if text, ok := d.Env.Get(derivation.StructuredAttrsKey); ok {
		attrs, _ := structuredAttrs(text)
		order, _ = stringList(attrs["outputs"])
	}
	if slices.Equal(slices.Sorted(slices.Values(order)), names) {
		return order
	}
	if i := slices.Index(names, "out"); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "out")
	}
	return names
}

// setKind sets the fields of s for the kind of the outputs of d.
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

// fullSpec returns a Spec that is not Bare and may be equivalent to the bare Spec s. ok is false if
// there is none.
func fullSpec(s Spec) (_ Spec, ok bool) {
	attrs, structured := s.Env, s.Env[derivation.StructuredAttrsKey]
	if structured != nil {
		if attrs, ok = structuredAttrs(structured.(string)); !ok || len(s.Env) != 1 {
			return s, false
		}
	}
	text := func(name string) string {
		value, _ := attrs[name].(string)
		return value
	}
	if text("name") != s.Name || text("system") != s.System || text("builder") != s.Builder {
		return s, false
	}
	s.Bare = false
	s.OutputHash, s.OutputHashAlgo, s.OutputHashMode = text("outputHash"), text("outputHashAlgo"), text("outputHashMode")
	if attrs["outputs"] == nil {
		s.Outputs = nil
	}
	others := make(map[string]any, len(attrs))
	for name, value := range attrs {
		switch name {
		case "name", "system", "builder", "outputs", "outputHash", "outputHashAlgo", "outputHashMode":
		default:
			others[name] = value
		}
	}
	if s.Env = others; structured != nil {
		s.Env, s.Attrs = nil, others
	}
	return s, true
}

// structuredAttrs decodes structured attributes. Numbers are of type json.Number.
func structuredAttrs(text string) (attrs map[string]any, ok bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	err := d.Decode(&attrs)
	return attrs, err == nil && attrs != nil
}

// stringList returns a list of strings in decoded JSON.
func stringList(v any) (list []string, ok bool) {
	values, ok := v.([]any)
	for _, value := range values {
		s, isString := value.(string)
		ok = ok && isString
		list = append(list, s)
	}
	return list, ok
}
