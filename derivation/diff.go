package derivation

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"pix/nixbase32"
	"pix/nixhash"
	"pix/storepath"
)

// A DiffField is a part of a derivation that can differ.
type DiffField uint8

// The fields in the order in which they are compared. [InputDifference] is for input derivations.
const (
	DiffName     DiffField = iota + 1 // the name of the derivation
	DiffDir                           // the store directory
	DiffOutput                        // an output; the key is its name
	DiffPlatform                      // the system that can run the builder
	DiffBuilder                       // the program
	DiffArgument                      // an argument; the key is its number, starting at 1, in both or in the one that has it
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

// A Change is a difference between two derivations in one field.
type Change struct {
	Field DiffField
	Key   string // which of several; see [DiffField]
	// A and B are the values in the two derivations. The value of an output are the three fields of
	// its text (path, method with algorithm, hash), separated by spaces.
	A, B string
	// InA and InB report which of the derivations has a value.
	InA, InB bool
	// HashesOnly reports that A and B differ only in the hash parts of store paths, usually of the
	// derivation's own outputs or of outputs of its inputs.
	HashesOnly bool
	// Consequence reports that the change follows from others: A and B differ only in the paths of
	// the derivation's own outputs, of outputs of inputs that differ, or of sources that differ.
	Consequence bool
}

// Edits returns the edits from A to B, word by word; see [DiffText].
func (c *Change) Edits() []Edit { return DiffText(c.A, c.B) }

// A Difference is the difference between two derivations.
type Difference struct {
	// A and B are the store paths of the derivations; "" if they are unknown.
	A, B storepath.Path
	// Changes are the fields that differ.
	Changes []Change
	// Inputs are the input derivations that differ.
	Inputs []InputDifference
}

// IsEmpty reports whether the derivations are equal.
func (d *Difference) IsEmpty() bool { return len(d.Changes) == 0 && len(d.Inputs) == 0 }

// An InputDifference is an input derivation that only one of two derivations has, that is replaced by
// another one, or whose used outputs differ.
type InputDifference struct {
	// Name is the name of the input derivation, of A if there are two.
	Name string
	// A and B are the store paths; "" if there is none.
	A, B storepath.Path
	// OutputsA and OutputsB are the used outputs.
	OutputsA, OutputsB InputOutputs
	// Difference is the difference between the two, if they were compared; see [DiffClosure]. If a
	// pair occurs several times, all have the same Difference.
	Difference *Difference
	// Err is the error if the two should have been compared but could not be loaded.
	Err error
}

// Diff compares two derivations. It compares their fields and the paths of their inputs. [DiffClosure]
// compares the inputs too.
//
// A variable that repeats another field of both derivations (name, system, builder, the path of an
// output or its hash) is not compared, nor is the variable of an output that only one of them has.
//
// Inputs are paired by name. If several inputs have one name, they are paired by the variables that
// mention them. Inputs that remain are not paired. [DiffClosure] pairs them by their contents.
func Diff(a, b *Derivation) *Difference {
	d, _ := diff(a, b, nil) // only the loader can fail
	return d
}

// diff is Diff with a loader of the inputs, which may be nil.
func diff(a, b *Derivation, load inputLoader) (*Difference, error) {
	d := &differ{a: a, b: b}
	d.text(DiffName, "", a.Name, b.Name)
	d.text(DiffDir, "", string(a.Dir), string(b.Dir))
	d.outputs()
	d.text(DiffPlatform, "", a.Platform, b.Platform)
	d.text(DiffBuilder, "", a.Builder, b.Builder)
	d.arguments()
	d.variables()
	d.sources()
	inputs, err := diffInputs(a, b, load)
	if err != nil {
		return nil, err
	}
	all := &Difference{Changes: d.changes, Inputs: inputs}
	all.explain(a, b, nil)
	return all, nil
}

// A differ is one run of [Diff].
type differ struct {
	a, b    *Derivation
	changes []Change
}

// text compares the values of a field that both have.
func (d *differ) text(field DiffField, key, a, b string) {
	if a != b {
		c := Change{Field: field, Key: key, A: a, B: b, InA: true, InB: true}
		c.HashesOnly = removeHashParts(cmp.Or(d.a.Dir, d.b.Dir), a) == removeHashParts(cmp.Or(d.b.Dir, d.a.Dir), b)
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

// variables compares the environment variables, except those that repeat another field.
func (d *differ) variables() {
	begin := len(d.changes)
	diffMaps(d, DiffVariable, d.a.Env, d.b.Env)
	kept := slices.DeleteFunc(d.changes[begin:], func(c Change) bool {
		switch {
		case c.InA && c.InB:
			return d.a.repeats(c.Key, c.A) && d.b.repeats(c.Key, c.B)
		case d.a.Outputs.Has(c.Key) == d.b.Outputs.Has(c.Key):
			return false
		}
		// An output that only one derivation has is a difference itself, and its variable comes with it.
		return c.InA && d.a.repeats(c.Key, c.A) || c.InB && d.b.repeats(c.Key, c.B)
	})
	d.changes = d.changes[:begin+len(kept)]
}

// repeats reports whether a variable with this value repeats another field of the derivation.
func (d *Derivation) repeats(variable, value string) bool {
	switch variable {
	case "name":
		return d.Name == value
	case "system":
		return d.Platform == value
	case "builder":
		return d.Builder == value
	case "outputHash":
		if d.Outputs.Len() != 1 {
			return false
		}
		_, o := d.Outputs.At(0)
		if o.kind != Fixed {
			return false
		}
		h, err := nixhash.ParseAny(value, o.algo)
		return err == nil && h.Base16() == o.digest
	}
	o, ok := d.Outputs.Get(variable)
	return ok && string(o.path) == value
}

// arguments compares the arguments. Between the common parts of the two lists, it pairs the arguments in
// order.
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

// sources compares the input sources. It pairs a source that only a has with a source of the same name that
// only b has.
func (d *differ) sources() {
	onlyA, onlyB := subtract(d.a.InputSources, d.b.InputSources), subtract(d.b.InputSources, d.a.InputSources)
	byName := map[string][]storepath.Path{} // sources in onlyB
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

// subtract returns the elements of a that are not in b.
func subtract(a, b Set[storepath.Path]) (paths []storepath.Path) {
	for path := range a.All() {
		if !b.Has(path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// removeHashParts removes the hash parts of store paths in dir from s. If dir is "", it uses the default
// store directory.
func removeHashParts(dir storepath.Dir, s string) string {
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
		if n := storepath.HashPartLen; len(s) > n && s[n] == '-' && nixbase32.IsDigits(s[:n]) {
			s = s[n:]
		}
	}
}
