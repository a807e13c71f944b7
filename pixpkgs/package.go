package pixpkgs

import (
	"iter"
	"path"
	"slices"

	"pix/derivation"
	"pix/storepath"
)

// A Package can be built, and has known paths. [Derive] creates it. It does not change, and any number
// of goroutines may use it.
type Package struct {
	normal  *normalSpec
	drv     *derivation.Derivation
	path    storepath.Path // of the .drv file
	hash    derivation.ModuloHash
	outputs []output // the default output is first
	deps    []*Package
	objects []*Object
	sources []storepath.Path // other sources, which must exist in the store
}

// An output is an output of a package.
type output struct {
	name string
	text string         // the path or its placeholder
	path storepath.Path // "" if it is not known before the build
}

// key identifies mentions of the output; see [textMention].
func (o *output) key() string {
	if o.path == "" {
		return o.text
	}
	return o.path.HashPart()
}

// Name returns the name of the package.
func (p *Package) Name() string { return p.drv.Name }

// String returns the path of the default output. If the path is known only after the build, it returns
// a placeholder, which the store replaces by the path.
func (p *Package) String() string { return p.outputs[0].text }

// Out returns the path of an output; "" means the default output. If the package does not have the
// output, using the result is an [*OutputError].
func (p *Package) Out(name string) String {
	o, err := p.output(name)
	if err != nil {
		return String{err: err}
	}
	return String{parts: []part{{kind: outputPart, pkg: p, text: o.name}}}
}

// Path returns the path of a file in the default output, such as Path("bin/bash").
func (p *Package) Path(elem ...string) String { return p.Out("").Path(elem...) }

// Path returns s followed by a slash and the elements, joined by slashes.
func (s String) Path(elem ...string) String {
	below := path.Join(elem...)
	if below == "" {
		return s
	}
	all := String{parts: make([]part, 0, len(s.parts)+2)}
	all.add(s)
	all.addText("/" + below)
	return all
}

// Drv returns the path of the .drv file, for builders that work on derivations. A package that mentions
// it has the .drv file as a source, but none of the outputs.
func (p *Package) Drv() String { return String{parts: []part{{kind: drvPart, pkg: p}}} }

// DrvPath returns the path of the .drv file.
func (p *Package) DrvPath() storepath.Path { return p.path }

// Derivation returns a copy of the derivation.
func (p *Package) Derivation() *derivation.Derivation { return p.drv.Clone() }

// Outputs returns the names of the outputs. The default output is first.
func (p *Package) Outputs() []string {
	names := make([]string, len(p.outputs))
	for i := range p.outputs {
		names[i] = p.outputs[i].name
	}
	return names
}

// OutputPath returns the path of an output; "" means the default output. The path is "" if it is known
// only after the build; [Realize] then returns it. The error is an [*OutputError].
func (p *Package) OutputPath(name string) (storepath.Path, error) {
	o, err := p.output(name)
	if err != nil {
		return "", err
	}
	return o.path, nil
}

// Dependencies returns the packages that the build uses, sorted by the paths of their .drv files.
func (p *Package) Dependencies() []*Package { return slices.Clone(p.deps) }

// output returns the output with that name; "" means the default output.
func (p *Package) output(name string) (*output, error) {
	i, err := p.outputIndex(name)
	if err != nil {
		return nil, err
	}
	return &p.outputs[i], nil
}

// outputIndex returns the index of the output with that name; "" means the default output.
func (p *Package) outputIndex(name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	for i := range p.outputs {
		if p.outputs[i].name == name {
			return i, nil
		}
	}
	return 0, &OutputError{p.Name(), name, p.Outputs()}
}

// outputText returns the text of an existing output.
func (p *Package) outputText(name string) string {
	o, err := p.output(name)
	if err != nil {
		return unprintable(err)
	}
	return o.text
}

// knownPath returns the path of an output, or "" if it is unknown or does not exist.
func (p *Package) knownPath(name string) storepath.Path {
	o, err := p.output(name)
	if err != nil {
		return ""
	}
	return o.path
}

// closureOf returns an iterator over roots and their dependencies, each once and after its own
// dependencies. It does not recurse, so only memory limits the depth of the graph.
func closureOf(roots []*Package) iter.Seq[*Package] {
	return func(yield func(*Package) bool) {
		type frame struct {
			pkg  *Package
			next int // index of the next dependency
		}
		seen := map[storepath.Path]bool{}
		var stack []frame
		push := func(p *Package) {
			if !seen[p.path] {
				seen[p.path] = true
				stack = append(stack, frame{pkg: p})
			}
		}
		for _, root := range roots {
			push(root)
			for len(stack) > 0 {
				top := &stack[len(stack)-1]
				if top.next < len(top.pkg.deps) {
					top.next++
					push(top.pkg.deps[top.next-1])
					continue
				}
				if !yield(top.pkg) {
					return
				}
				stack = stack[:len(stack)-1]
			}
		}
	}
}
