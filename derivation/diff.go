package derivation

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"pix/nixbase32"
	"pix/storepath"
)

// A DiffField is a part of a derivation that can differ.
type DiffField uint8

// The fields, in the order in which they are compared. Input derivations are none of
// them; see [InputDifference].
const (
	DiffName     DiffField = iota + 1 // the name of the derivation
	DiffDir                           // the store directory
	DiffOutput                        // an output; the key is its name
	DiffPlatform                      // the system that can run the builder
	DiffBuilder                       // the program
	DiffArgument                      // an argument; the key is its number, from 1 on, in both or in the one that has it
	DiffVariable                      // an environment variable; the key is its name
	DiffSource                        // an input source; the key is its name
)

var diffFields = [...]string{
	DiffName: "name", DiffDir: "store directory", DiffOutput: "output", DiffPlatform: "platform",
	DiffBuilder: "builder", DiffArgument: "argument", DiffVariable: "variable", DiffSource: "source",
}

// String returns the name of the field in lower case, such as "variable".
func (f DiffField) String() string {
	if f < DiffName || f > DiffSource {
		return "DiffField(" + strconv.Itoa(int(f)) + ")"
	}
	return diffFields[f]
}

// A Change is a part of two derivations that is not the same in both.
type Change struct {
	Field DiffField
	Key   string // which of several; see the fields
	// A and B are what the two have there. An output is written as the three fields of its
	// text (path, method with algorithm, hash) with spaces between them.
	A, B string
	// InA and InB say which of the two have anything there at all.
	InA, InB bool
	// HashesOnly says that A and B are the same but for the hash parts of store paths:
	// most often those of the derivation's own outputs, or of what its inputs make. Such a
	// change follows from another.
	HashesOnly bool
}

// Edits returns how B is made of A, word by word; see [DiffText].
func (c *Change) Edits() []Edit { return DiffText(c.A, c.B) }

// A Difference is how two derivations differ.
type Difference struct {
	// A and B are the store paths of the two; "" where they are not known.
	A, B storepath.Path
	// Changes are the fields that differ.
	Changes []Change
	// Inputs are the input derivations that differ.
	Inputs []InputDifference
}

// IsEmpty reports whether nothing differs.
func (d *Difference) IsEmpty() bool { return len(d.Changes) == 0 && len(d.Inputs) == 0 }

// An InputDifference is an input derivation that only one of two derivations has, or
// that is another one in the other, or that is used for other outputs there.
type InputDifference struct {
	// Name is that of the derivation: of the first, where both have one.
	Name string
	// A and B are the store paths; "" where there is none.
	A, B storepath.Path
	// OutputsA and OutputsB are which outputs are used.
	OutputsA, OutputsB InputOutputs
	// Difference is how the two differ, if that was looked at; see [DiffClosure]. Where a
	// pair is met again it is the same.
	Difference *Difference
	// Err is why it was not looked at, though both are there and should have been.
	Err error
}

// Diff compares two derivations. It looks at their fields and at which inputs they have,
// not into the inputs; [DiffClosure] does that.
func Diff(a, b *Derivation) *Difference {
	d := &differ{a: a, b: b}
	d.text(DiffName, "", a.Name, b.Name)
	d.text(DiffDir, "", string(a.Dir), string(b.Dir))
	d.outputs()
	d.text(DiffPlatform, "", a.Platform, b.Platform)
	d.text(DiffBuilder, "", a.Builder, b.Builder)
	d.arguments()
	diffMaps(d, DiffVariable, a.Env, b.Env)
	d.sources()
	return &Difference{Changes: d.changes, Inputs: diffInputs(a, b)}
}

// A differ is one run of [Diff].
type differ struct {
	a, b    *Derivation
	changes []Change
}

// text compares what both have.
func (d *differ) text(field DiffField, key, a, b string) {
	if a != b {
		c := Change{Field: field, Key: key, A: a, B: b, InA: true, InB: true}
		c.HashesOnly = withoutHashes(cmp.Or(d.a.Dir, d.b.Dir), a) == withoutHashes(cmp.Or(d.b.Dir, d.a.Dir), b)
		d.changes = append(d.changes, c)
	}
}

func (d *differ) onlyA(field DiffField, key, a string) {
	d.changes = append(d.changes, Change{Field: field, Key: key, A: a, InA: true})
}

func (d *differ) onlyB(field DiffField, key, b string) {
	d.changes = append(d.changes, Change{Field: field, Key: key, B: b, InB: true})
}

// diffMaps compares two maps key by key.
func diffMaps(d *differ, field DiffField, a, b Map[string, string]) {
	for i, j := 0, 0; i < a.Len() || j < b.Len(); {
		var keyA, valueA, keyB, valueB string
		if i < a.Len() {
			keyA, valueA = a.At(i)
		}
		if j < b.Len() {
			keyB, valueB = b.At(j)
		}
		switch {
		case j == b.Len() || i < a.Len() && keyA < keyB:
			d.onlyA(field, keyA, valueA)
			i++
		case i == a.Len() || keyB < keyA:
			d.onlyB(field, keyB, valueB)
			j++
		default:
			d.text(field, keyA, valueA, valueB)
			i, j = i+1, j+1
		}
	}
}

func (d *differ) outputs() { diffMaps(d, DiffOutput, outputTexts(d.a), outputTexts(d.b)) }

// outputTexts returns the outputs of d as texts.
func outputTexts(d *Derivation) (texts Map[string, string]) {
	for name, o := range d.Outputs.All() {
		fields := []string{string(o.Path()), o.MethodAlgorithm(), o.HashField()}
		fields = slices.DeleteFunc(fields, func(s string) bool { return s == "" })
		texts.Set(name, strings.Join(fields, " "))
	}
	return texts
}

// arguments compares the arguments. Those between what both lists have in common are
// taken for each other in their order.
func (d *differ) arguments() {
	a, b := d.a.Args, d.b.Args
	i, j := 0, 0
	for _, m := range append(commonParts(a, b), common{len(a), len(b), 0}) {
		for ; i < m.a && j < m.b; i, j = i+1, j+1 {
			d.text(DiffArgument, strconv.Itoa(i+1), a[i], b[j])
		}
		for ; i < m.a; i++ {
			d.onlyA(DiffArgument, strconv.Itoa(i+1), a[i])
		}
		for ; j < m.b; j++ {
			d.onlyB(DiffArgument, strconv.Itoa(j+1), b[j])
		}
		i, j = m.a+m.n, m.b+m.n
	}
}

// sources compares the input sources. One that only one derivation has and one of the
// same name that only the other has are taken for each other.
func (d *differ) sources() {
	onlyA, onlyB := notIn(d.a.InputSources, d.b.InputSources), notIn(d.b.InputSources, d.a.InputSources)
	byName := map[string][]storepath.Path{} // of those that only b has
	for _, path := range onlyB {
		byName[path.Name()] = append(byName[path.Name()], path)
	}
	paired := map[storepath.Path]bool{}
	for _, path := range onlyA {
		if others := byName[path.Name()]; len(others) > 0 {
			d.text(DiffSource, path.Name(), string(path), string(others[0]))
			byName[path.Name()], paired[others[0]] = others[1:], true
			continue
		}
		d.onlyA(DiffSource, path.Name(), string(path))
	}
	for _, path := range onlyB {
		if !paired[path] {
			d.onlyB(DiffSource, path.Name(), string(path))
		}
	}
}

// notIn returns what is in a and not in b.
func notIn(a, b Set[storepath.Path]) (paths []storepath.Path) {
	for path := range a.All() {
		if !b.Has(path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// withoutHashes returns s with the hash parts of store paths in dir cut out; in the
// default one, if dir is not known.
func withoutHashes(dir storepath.Dir, s string) string {
	var b strings.Builder
	prefix := string(cmp.Or(dir, storepath.DefaultDir)) + "/"
	for {
		i := strings.Index(s, prefix)
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		i += len(prefix)
		b.WriteString(s[:i])
		s = s[i:]
		if n := storepath.HashPartLen; len(s) > n && s[n] == '-' && isBase32(s[:n]) {
			s = s[n:]
		}
	}
}

func isBase32(s string) bool {
	for i := range len(s) {
		if !nixbase32.IsDigit(s[i]) {
			return false
		}
	}
	return true
}
