package pixpkgs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pix/derivation"
	"pix/storepath"
)

// An inputSet has the dependencies of a package: everything that its values and [Spec.Deps] mention.
type inputSet struct {
	dir      storepath.Dir
	packages []input                // sorted by path after seal
	index    map[storepath.Path]int // index of packages; nil if there are few
	objects  map[storepath.Path]*Object
	drvs     map[storepath.Path]*Package // packages whose .drv file is used
	paths    []storepath.Path            // all sources: objects, .drv files, and paths in the store

	known map[string]part // by hash part or placeholder; nil until lookup is called
}

// An input is a package with used outputs.
type input struct {
	pkg     *Package
	outputs []string // in any order, possibly with duplicates
	dynamic derivation.Map[string, derivation.InputOutputs]
}

// collect returns everything that the Strings of n mention.
func (n *normalSpec) collect() (*inputSet, error) {
	mentions := 0
	n.eachString(func(s *String) error {
		for i := range s.parts {
			if s.parts[i].kind == outputPart {
				mentions++
			}
		}
		return nil
	})
	in := &inputSet{dir: n.dir, packages: make([]input, 0, min(mentions, maxScanned))}
	err := n.eachString(func(s *String) error {
		for i := range s.parts {
			if err := in.add(&s.parts[i]); err != nil {
				return err
			}
		}
		return s.err
	})
	in.seal()
	return in, err
}

// add adds the dependency of a part.
func (in *inputSet) add(p *part) error {
	if p.textOnly {
		return nil
	}
	switch p.kind {
	case literalPart, rawPart, ownPart:
		return nil
	case outputPart:
		return in.addOutput(p)
	case drvPart:
		if in.drvs == nil {
			in.drvs = map[storepath.Path]*Package{}
		}
		in.drvs[p.pkg.path] = p.pkg
		return in.addPath(p.pkg.path)
	case objectPart:
		if in.objects == nil {
			in.objects = map[storepath.Path]*Object{}
		}
		in.objects[p.object.info.Path] = p.object
		return in.addPath(p.object.info.Path)
	case pathPart:
		path, err := storepath.Parse(p.text)
		if err != nil {
			return err // cannot happen: StorePath has parsed it
		}
		return in.addPath(path)
	}
	panic("pixpkgs: unknown kind of part")
}

func (in *inputSet) addPath(path storepath.Path) error {
	if !in.dir.Contains(path) {
		return fmt.Errorf("%s is not in the store directory %s", path, in.dir)
	}
	in.paths = append(in.paths, path)
	return nil
}

func (in *inputSet) addOutput(p *part) error {
	pkg := p.pkg
	i, err := pkg.outputIndex(p.text)
	if err != nil {
		return err
	}
	if pkg.drv.Dir != in.dir {
		return fmt.Errorf("package %q is in the store directory %s, not in %s", pkg.Name(), pkg.drv.Dir, in.dir)
	}
	used := in.at(pkg)
	name := pkg.normal.outputs[i]
	switch n := len(used.outputs); {
	case len(p.nested) > 0:
		addDynamic(&used.dynamic, name, p.nested)
	case n == 0:
		used.outputs = pkg.normal.outputs[i : i+1 : i+1] // most packages use one output of an input, which needs no list of its own
	case used.outputs[n-1] != name:
		used.outputs = append(used.outputs, name)
	}
	return nil
}

// at returns the input for a package, which it adds if necessary.
func (in *inputSet) at(pkg *Package) *input {
	i, ok := in.find(pkg.path)
	if !ok {
		i = len(in.packages)
		in.packages = append(in.packages, input{pkg: pkg})
		in.indexPackage(i)
	}
	return &in.packages[i]
}

// maxScanned is the number of inputs up to which a linear search is faster than a map.
const maxScanned = 16

// find returns the index of the package with that path.
func (in *inputSet) find(path storepath.Path) (int, bool) {
	if len(in.packages) > maxScanned {
		i, ok := in.index[path]
		return i, ok
	}
	for i := range in.packages {
		if in.packages[i].pkg.path == path {
			return i, true
		}
	}
	return 0, false
}

// indexPackage updates the index for the i-th package, which was added or moved.
func (in *inputSet) indexPackage(i int) {
	if len(in.packages) <= maxScanned {
		return
	}
	if in.index == nil {
		in.index = make(map[storepath.Path]int, 2*len(in.packages))
		for k := range i {
			in.index[in.packages[k].pkg.path] = k
		}
	}
	in.index[in.packages[i].pkg.path] = i
}

// seal sorts the packages.
func (in *inputSet) seal() {
	slices.SortFunc(in.packages, func(a, b input) int { return cmp.Compare(a.pkg.path, b.pkg.path) })
	for i := range in.packages {
		in.indexPackage(i)
	}
}

// derivations returns the input derivations with their used outputs.
func (in *inputSet) derivations() derivation.Map[storepath.Path, derivation.InputOutputs] {
	var few [maxScanned]derivation.Entry[storepath.Path, derivation.InputOutputs]
	list := few[:0]
	for i := range in.packages {
		used := derivation.OutputsOf(in.packages[i].outputs...)
		used.Dynamic = in.packages[i].dynamic
		list = append(list, derivation.Entry[storepath.Path, derivation.InputOutputs]{Key: in.packages[i].pkg.path, Value: used})
	}
	return derivation.MapOf(list...)
}

// hash implements [derivation.InputHashes].
func (in *inputSet) hash(path storepath.Path) (derivation.ModuloHash, bool) {
	i, ok := in.find(path)
	if !ok {
		return derivation.ModuloHash{}, false
	}
	return in.packages[i].pkg.hash, true
}

// lookup returns the part for a key, if it belongs to a declared package or source. It finds all outputs
// of a declared package, including outputs that are not declared.
func (in *inputSet) lookup(key string) (part, bool) {
	if in.known == nil {
		in.known = map[string]part{}
		for i := range in.packages {
			in.addKnown(in.packages[i].pkg)
			for _, p := range dynamicParts(in.packages[i].pkg, in.packages[i].dynamic) {
				in.known[p.String()] = p
			}
		}
		for _, path := range in.paths {
			in.known[path.HashPart()] = part{kind: pathPart, text: string(path)}
		}
		for _, pkg := range in.drvs {
			in.known[pkg.path.HashPart()] = part{kind: drvPart, pkg: pkg}
		}
		for _, o := range in.objects {
			in.known[o.info.Path.HashPart()] = part{kind: objectPart, object: o}
		}
	}
	p, ok := in.known[key]
	return p, ok
}

func (in *inputSet) addKnown(pkg *Package) {
	in.known[pkg.path.HashPart()] = part{kind: drvPart, pkg: pkg, textOnly: true}
	for i := range pkg.outputs {
		o := &pkg.outputs[i]
		in.known[o.key()] = part{kind: outputPart, pkg: pkg, text: o.name}
	}
}

// declares reports whether the output of pkg is an input.
func (in *inputSet) declares(pkg *Package, output string) bool {
	i, ok := in.find(pkg.path)
	return ok && slices.Contains(in.packages[i].outputs, output)
}

// A leniency has the paths that a file may mention without having them as inputs.
type leniency struct {
	known map[string]part // by hash part or placeholder
}

// declare makes mentions of inputs in plain strings of n separate parts, so that they change with the input. For any
// other mention it returns an [*UndeclaredError], or an error about the text.
func (n *normalSpec) declare(in *inputSet) error {
	return n.eachString(func(s *String) error {
		found := n.needsSplit(s.text)
		for i := range s.parts {
			p := &s.parts[i]
			found = found || p.kind == ownPart || p.kind == literalPart && n.needsSplit(p.text)
		}
		if !found {
			return nil
		}
		declared, err := n.declareIn(s, in)
		if err == nil {
			*s = declared
		}
		return err
	})
}

// needsSplit reports whether a plain text has a mention or a NUL byte.
func (n *normalSpec) needsSplit(text string) bool {
	for range mentions(text, n.dir) {
		return true
	}
	return strings.IndexByte(text, 0) >= 0
}

func (n *normalSpec) declareIn(s *String, in *inputSet) (out String, err error) {
	if len(s.parts) == 0 {
		return out, n.split(&out, s.text, in)
	}
	for i := range s.parts {
		p := &s.parts[i]
		switch {
		case p.kind == ownPart && !slices.Contains(n.outputs, p.text):
			return out, &OutputError{n.spec.Name, p.text, n.outputs}
		case p.kind != literalPart:
			out.toParts()
			out.parts = append(out.parts, *p)
			continue
		}
		if err := n.split(&out, p.text, in); err != nil {
			return out, err
		}
	}
	return out, nil
}

// nulError explains a NUL byte in a text. Printing something unprintable inserts one.
func nulError(text string) error {
	_, reason, _ := strings.Cut(text, "\x00(")
	if reason == "" {
		return fmt.Errorf("the text %.100q contains a NUL byte, which arguments and variables cannot contain", text)
	}
	return fmt.Errorf("invalid text: %s", strings.TrimSuffix(reason, ")"))
}

// split appends the parts of a plain text.
//
// If a file that Nix wrote mentions something that is not an input, the rest of the text becomes raw,
// so that deriving the package again does not change it.
func (n *normalSpec) split(out *String, text string, in *inputSet) error {
	start, first := 0, len(out.parts)
	raw := strings.IndexByte(text, 0) >= 0
	if raw && n.spec.lenient == nil {
		return nulError(text)
	}
	for f := range mentions(text, n.dir) {
		p, mentioned, err := n.partAt(text, f, in)
		if err != nil {
			return err
		}
		full := ""
		if mentioned {
			full = p.String()
		}
		if !mentioned || !strings.HasPrefix(text[f.start:], full) {
			raw = raw || n.spec.lenient != nil
			continue
		}
		out.addText(text[start:f.start])
		out.toParts()
		out.parts = append(out.parts, p)
		start = f.start + len(full)
	}
	if start == 0 && !raw && first == 0 {
		out.text = text
		return nil
	}
	out.addText(text[start:])
	for i := first; raw && i < len(out.parts); i++ {
		if out.parts[i].kind == literalPart {
			out.parts[i].kind = rawPart
		}
	}
	return nil
}

// partAt returns the part for a mention. ok is false if it remains text.
func (n *normalSpec) partAt(text string, f textMention, in *inputSet) (p part, ok bool, err error) {
	p, ok = in.lookup(f.key)
	switch {
	case ok && p.kind == outputPart && len(p.nested) == 0 && !in.declares(p.pkg, p.text):
		if n.spec.lenient == nil {
			return p, false, &UndeclaredError{Path: p.pkg.knownPath(p.text), Text: text[f.start:f.end], Name: p.pkg.Name(), Output: p.text}
		}
		p.textOnly = true
		return p, true, nil
	case ok && p.kind == drvPart && p.textOnly && n.spec.lenient == nil:
		return p, false, &UndeclaredError{Path: p.pkg.path, Text: string(p.pkg.path), Name: p.pkg.path.Name()}
	case ok:
		return p, true, nil
	case n.spec.lenient != nil:
		p, ok = n.spec.lenient.known[f.key]
		p.textOnly = true
		return p, ok, nil
	case f.isPlaceholder:
		return p, false, n.undeclaredPlaceholder(f.key, in)
	}
	path, err := n.dir.Parse(text[f.start:f.end])
	if err != nil {
		return p, false, nil // not a store path, because its name is too long
	}
	return p, false, &UndeclaredError{Path: path, Text: string(path), Name: path.Name()}
}

// undeclaredPlaceholder returns the error for a placeholder that does not belong to an input, or nil if it
// belongs to the package itself.
func (n *normalSpec) undeclaredPlaceholder(placeholder string, in *inputSet) error {
	for _, output := range n.outputs {
		if string(storepath.OwnPlaceholder(output)) == placeholder {
			return nil
		}
	}
	e := &UndeclaredError{Text: placeholder}
	for pkg := range closureOf(in.pkgs()) {
		for i := range pkg.outputs {
			if pkg.outputs[i].text == placeholder {
				e.Name = pkg.Name()
			}
		}
	}
	return e
}

// pkgs returns the packages that are used, sorted by path.
func (in *inputSet) pkgs() []*Package {
	all := make([]*Package, len(in.packages), len(in.packages)+len(in.drvs))
	for i := range in.packages {
		all[i] = in.packages[i].pkg
	}
	for path, pkg := range in.drvs {
		if _, ok := in.find(path); !ok {
			all = append(all, pkg)
		}
	}
	if len(in.drvs) > 0 {
		slices.SortFunc(all, func(a, b *Package) int { return cmp.Compare(a.path, b.path) })
	}
	return all
}
