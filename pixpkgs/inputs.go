package pixpkgs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pix/derivation"
	"pix/storepath"
)

// An inputs is what a package depends on: what its values mention, and [Spec.Deps].
type inputs struct {
	dir      storepath.Dir
	packages []input                // sorted by path once they are sealed
	index    map[storepath.Path]int // of packages; made when there are many
	objects  map[storepath.Path]*Object
	drvs     map[storepath.Path]*Package // of which the .drv file is used
	paths    []storepath.Path            // all sources: of objects, .drv files, and what is in the store

	known map[string]part // by hash part or placeholder; made when it is needed
}

// An input is a package of which outputs are used.
type input struct {
	pkg     *Package
	outputs []string // sorted, each once, when sealed
	dynamic derivation.Map[string, derivation.InputOutputs]
}

// collect finds all that the Strings of n mention.
func (n *normal) collect() (*inputs, error) {
	in := &inputs{dir: n.dir, packages: make([]input, 0, 8)}
	err := n.eachString(func(s *String) error {
		for i := range s.parts {
			if err := in.add(&s.parts[i]); err != nil {
				return err
			}
		}
		return s.err
	})
	for _, dynamic := range n.spec.dynamic {
		in.at(dynamic.pkg).dynamic = dynamic.used
	}
	in.seal()
	return in, err
}

// add takes what a part mentions.
func (in *inputs) add(p *part) error {
	if p.mere {
		return nil
	}
	switch p.kind {
	case literalPart, rawPart, ownPart:
		return nil
	case outputPart:
		return in.addOutput(p.pkg, p.text)
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
		return in.addPath(p.path)
	}
	panic("pixpkgs: part of no kind")
}

func (in *inputs) addPath(path storepath.Path) error {
	if !in.dir.Contains(path) {
		return fmt.Errorf("%s is not in the store directory %s", path, in.dir)
	}
	in.paths = append(in.paths, path)
	return nil
}

func (in *inputs) addOutput(pkg *Package, output string) error {
	o, err := pkg.output(output)
	if err != nil {
		return err
	}
	if pkg.drv.Dir != in.dir {
		return fmt.Errorf("package %q is in the store directory %s, and not in %s", pkg.Name(), pkg.drv.Dir, in.dir)
	}
	used := in.at(pkg)
	used.outputs = append(used.outputs, o.name)
	return nil
}

// at returns the input that a package is.
func (in *inputs) at(pkg *Package) *input {
	i, ok := in.find(pkg.path)
	if !ok {
		i = len(in.packages)
		in.packages = append(in.packages, input{pkg: pkg})
		in.remember(i)
	}
	return &in.packages[i]
}

// few is the number of inputs up to which it is quicker to look at each.
const few = 16

// find returns where the package of that path is among the inputs.
func (in *inputs) find(path storepath.Path) (int, bool) {
	if len(in.packages) > few {
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

// remember makes the i-th package, which was added or moved there, be found.
func (in *inputs) remember(i int) {
	if len(in.packages) <= few {
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

// seal sorts what was collected.
func (in *inputs) seal() {
	slices.SortFunc(in.packages, func(a, b input) int { return cmp.Compare(a.pkg.path, b.pkg.path) })
	for i := range in.packages {
		in.remember(i)
		names := in.packages[i].outputs
		slices.Sort(names)
		in.packages[i].outputs = slices.Compact(names)
	}
}

// hash is a [derivation.InputHashes].
func (in *inputs) hash(path storepath.Path) (derivation.ModuloHash, bool) {
	i, ok := in.find(path)
	if !ok {
		return derivation.ModuloHash{}, false
	}
	return in.packages[i].pkg.hash, true
}

// lookup returns what is mentioned under a key, if it belongs to a package or source that
// is declared. Of a package all outputs are found, also those that are not.
func (in *inputs) lookup(key string) (part, bool) {
	if in.known == nil {
		in.known = map[string]part{}
		for i := range in.packages {
			in.learn(in.packages[i].pkg)
		}
		for _, path := range in.paths {
			in.known[path.HashPart()] = part{kind: pathPart, path: path}
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

func (in *inputs) learn(pkg *Package) {
	in.known[pkg.path.HashPart()] = part{kind: drvPart, pkg: pkg, mere: true}
	for i := range pkg.outputs {
		o := &pkg.outputs[i]
		in.known[o.key()] = part{kind: outputPart, pkg: pkg, text: o.name}
	}
}

// declares reports whether that output of the package is an input.
func (in *inputs) declares(pkg *Package, output string) bool {
	i, ok := in.find(pkg.path)
	return ok && slices.Contains(in.packages[i].outputs, output)
}

// A leniency is what is known of paths that a file may mention without having them as
// inputs.
type leniency struct {
	known map[string]part // by hash part or placeholder
}

// declare returns n with all mentions of inputs in plain strings made parts of their own,
// so that they change with the input. A mention of anything else is an error, an
// [*UndeclaredError] or one that says what is wrong with the text.
func (n *normal) declare(in *inputs) (*normal, error) {
	return n.mapStrings(func(s *String) (String, bool, error) {
		mentions := n.mayMention(s.text)
		for i := range s.parts {
			p := &s.parts[i]
			mentions = mentions || p.kind == ownPart || p.kind == literalPart && n.mayMention(p.text)
		}
		if !mentions {
			return String{}, false, nil
		}
		declared, err := n.declareIn(s, in)
		return declared, err == nil, err
	})
}

// mayMention reports whether a plain text must be looked at.
func (n *normal) mayMention(text string) bool {
	return strings.IndexByte(text, '/') >= 0 || strings.IndexByte(text, 0) >= 0
}

func (n *normal) declareIn(s *String, in *inputs) (out String, err error) {
	if len(s.parts) == 0 {
		return out, n.split(&out, s.text, in)
	}
	for i := range s.parts {
		p := &s.parts[i]
		switch {
		case p.kind == ownPart && !slices.Contains(n.outputs, p.text):
			return out, &OutputError{n.spec.Name, p.text, n.outputs}
		case p.kind != literalPart:
			out.divide()
			out.parts = append(out.parts, *p)
			continue
		}
		if err := n.split(&out, p.text, in); err != nil {
			return out, err
		}
	}
	return out, nil
}

// nulError explains a NUL byte, which is where something was printed that cannot be.
func nulError(text string) error {
	_, reason, _ := strings.Cut(text, "\x00(")
	if reason == "" {
		return fmt.Errorf("the text %.100q has a NUL byte, which no argument or variable can have", text)
	}
	return fmt.Errorf("the text cannot be: %s", strings.TrimSuffix(reason, ")"))
}

// split appends the parts of a plain text.
//
// Where a file that Nix wrote mentions what it has not as an input, the rest of the text
// becomes raw, so that it is taken as it is when the package is derived again.
func (n *normal) split(out *String, text string, in *inputs) error {
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
		out.divide()
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

// partAt returns the part that a mention is, and whether it is one.
func (n *normal) partAt(text string, f found, in *inputs) (p part, ok bool, err error) {
	p, ok = in.lookup(f.key)
	switch {
	case ok && p.kind == outputPart && !in.declares(p.pkg, p.text):
		if n.spec.lenient == nil {
			return p, false, &UndeclaredError{Path: p.pkg.knownPath(p.text), Text: text[f.start:f.end], Name: p.pkg.Name(), Output: p.text}
		}
		p.mere = true
		return p, true, nil
	case ok && p.kind == drvPart && p.mere && n.spec.lenient == nil:
		return p, false, &UndeclaredError{Path: p.pkg.path, Text: string(p.pkg.path), Name: p.pkg.path.Name()}
	case ok:
		return p, true, nil
	case n.spec.lenient != nil:
		p, ok = n.spec.lenient.known[f.key]
		p.mere = true
		return p, ok, nil
	case f.isPlaceholder:
		return p, false, n.undeclaredPlaceholder(f.key, in)
	}
	path, err := n.dir.Parse(text[f.start:f.end])
	if err != nil {
		return p, false, nil // no store path after all, for its name is too long
	}
	return p, false, &UndeclaredError{Path: path, Text: string(path), Name: path.Name()}
}

// undeclaredPlaceholder returns the error for a placeholder that is not of an input, or nil
// if it is of the package itself.
func (n *normal) undeclaredPlaceholder(placeholder string, in *inputs) error {
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

// pkgs returns the packages, without their outputs, sorted by path.
func (in *inputs) pkgs() []*Package {
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
