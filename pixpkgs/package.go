package pixpkgs

import (
	"iter"
	"path"
	"slices"

	"pix/derivation"
	"pix/storepath"
)

// A Package is something that can be built, and whose paths are known. It is made by
// [Derive] and never changes; it may be used by any number of goroutines.
type Package struct {
	normal  *normal
	drv     *derivation.Derivation
	path    storepath.Path // of the .drv file
	hash    derivation.ModuloHash
	outputs []output // the default one first
	deps    []*Package
	objects []*Object
	sources []storepath.Path // other sources, which must be in the store already
}

// An output is one of the things that a package's build makes.
type output struct {
	name string
	text string         // its path, or what stands for it
	path storepath.Path // "" if it is not known before the build
}

// key is what identifies a mention of the output; see [found].
func (o *output) key() string {
	if o.path == "" {
		return o.text
	}
	return o.path.HashPart()
}

// Name returns the name of the package.
func (p *Package) Name() string { return p.drv.Name }

// String returns the path of the default output. If that follows from the contents and so
// is not known before the build, it is a placeholder, in the place of which a builder sees
// the path.
func (p *Package) String() string { return p.outputs[0].text }

// Out returns the path of one of the outputs, "" for the default one. That the package
// has no such output is an [*OutputError] where the result is used.
func (p *Package) Out(name string) String {
	o, err := p.output(name)
	if err != nil {
		return String{err: err}
	}
	return String{parts: []part{{kind: outputPart, pkg: p, text: o.name}}}
}

// Path returns the path of a file in the default output, such as Path("bin/bash").
func (p *Package) Path(elem ...string) String { return p.Out("").Path(elem...) }

// Path returns s with the elements behind it, separated by slashes.
func (s String) Path(elem ...string) String {
	below := path.Join(elem...)
	if below == "" {
		return s
	}
	var all String
	all.add(s)
	all.addText("/" + below)
	return all
}

// Drv returns the path of the .drv file itself, for those that work on derivations. What
// uses it has the file as a source, and none of the outputs.
func (p *Package) Drv() String { return String{parts: []part{{kind: drvPart, pkg: p}}} }

// DrvPath returns the path of the .drv file.
func (p *Package) DrvPath() storepath.Path { return p.path }

// Derivation returns the derivation, which the caller may change.
func (p *Package) Derivation() *derivation.Derivation { return p.drv.Clone() }

// Outputs returns the names of the outputs, the default one first.
func (p *Package) Outputs() []string {
	names := make([]string, len(p.outputs))
	for i := range p.outputs {
		names[i] = p.outputs[i].name
	}
	return names
}

// OutputPath returns the path of an output, "" for the default one. It is "" if it is
// known only after the build; [Realize] returns it then. The error is an [*OutputError].
func (p *Package) OutputPath(name string) (storepath.Path, error) {
	o, err := p.output(name)
	if err != nil {
		return "", err
	}
	return o.path, nil
}

// Dependencies returns the packages that the build uses, sorted by their .drv paths.
func (p *Package) Dependencies() []*Package { return slices.Clone(p.deps) }

// output returns the output of that name, "" for the default one.
func (p *Package) output(name string) (*output, error) {
	if name == "" {
		return &p.outputs[0], nil
	}
	for i := range p.outputs {
		if p.outputs[i].name == name {
			return &p.outputs[i], nil
		}
	}
	return nil, &OutputError{p.Name(), name, p.Outputs()}
}

// outputText returns what an output, which there is, prints as.
func (p *Package) outputText(name string) string {
	o, err := p.output(name)
	if err != nil {
		return misprint(err)
	}
	return o.text
}

// knownPath returns the path of an output; "" if it is not known or there is none.
func (p *Package) knownPath(name string) storepath.Path {
	o, err := p.output(name)
	if err != nil {
		return ""
	}
	return o.path
}

// closureOf yields the packages and all that they depend on, each once and after its
// dependencies. The depth of the graph is bounded only by memory.
func closureOf(roots []*Package) iter.Seq[*Package] {
	return func(yield func(*Package) bool) {
		type frame struct {
			pkg  *Package
			next int // of its dependencies
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
