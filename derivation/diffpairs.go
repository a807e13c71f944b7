package derivation

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"pix/storepath"
)

// An inputLoader returns an input of the first (0) or second (1) of two derivations, or nil if it cannot be loaded. The
// error is a [*LimitError].
type inputLoader func(side int, path storepath.Path) (*Derivation, error)

// diffInputs returns the input derivations in which a and b differ. load may be nil.
//
// Nothing in the derivations says which input of b replaces which input of a. An input is paired with the only one of the
// same name and the same used outputs, then of the same name, then of the same name except for the version. If there are
// several, [inputMatcher.pairGroup] looks at how they are used, and at their contents.
func diffInputs(a, b *Derivation, load inputLoader) ([]InputDifference, error) {
	m := &inputMatcher{drvs: [2]*Derivation{a, b}, load: load}
	for path, used := range a.InputDerivations.All() {
		other, ok := b.InputDerivations.Get(path)
		switch {
		case !ok:
			m.left[0] = append(m.left[0], inputUse{path, used})
		case !used.Equal(other):
			m.pair(inputUse{path, used}, inputUse{path, other})
		}
	}
	for path, used := range b.InputDerivations.All() {
		if !a.InputDerivations.Has(path) {
			m.left[1] = append(m.left[1], inputUse{path, used})
		}
	}
	name := func(in inputUse) string { return nameOf(in.path) }
	for _, key := range []func(inputUse) string{
		name, func(in inputUse) string { return trimVersion(nameOf(in.path)) },
	} {
		if err := m.match(key); err != nil {
			return nil, err
		}
	}
	for _, in := range m.left[0] {
		m.pair(in, inputUse{})
	}
	for _, in := range m.left[1] {
		m.pair(inputUse{}, in)
	}
	slices.SortStableFunc(m.pairs, func(x, y InputDifference) int { return cmp.Compare(x.Name, y.Name) })
	return m.pairs, nil
}

// An inputUse is an input derivation and its used outputs.
type inputUse struct {
	path storepath.Path
	used InputOutputs
}

// An inputMatcher pairs the inputs of two derivations.
type inputMatcher struct {
	drvs  [2]*Derivation
	load  inputLoader
	left  [2][]inputUse // inputs that are not paired yet
	pairs []InputDifference
}

func (m *inputMatcher) pair(a, b inputUse) {
	name := nameOf(a.path)
	if a.path == "" {
		name = nameOf(b.path)
	}
	m.pairs = append(m.pairs, InputDifference{Name: name, A: a.path, B: b.path, OutputsA: a.used, OutputsB: b.used})
}

// match pairs the remaining inputs within the groups for which key returns the same.
func (m *inputMatcher) match(key func(inputUse) string) error {
	groups := map[string]*[2][]inputUse{}
	var order []string
	for side, inputs := range m.left {
		for _, in := range inputs {
			k := key(in)
			if groups[k] == nil {
				groups[k] = new([2][]inputUse)
				order = append(order, k)
			}
			groups[k][side] = append(groups[k][side], in)
		}
	}
	m.left = [2][]inputUse{}
	for _, k := range order {
		if err := m.pairGroup(groups[k]); err != nil {
			return err
		}
	}
	return nil
}

// pairGroup pairs the inputs of a group, and adds those that it cannot pair to m.left. If there is more than one on a side,
// it pairs inputs that the same variables mention, then those with the same used outputs, then those that are most alike.
func (m *inputMatcher) pairGroup(group *[2][]inputUse) error {
	if len(group[0]) == 1 && len(group[1]) == 1 {
		m.pair(group[0][0], group[1][0])
		return nil
	}
	if len(group[0]) > 0 && len(group[1]) > 0 {
		var loaded [2][]*Derivation
		for side := range group {
			loaded[side] = make([]*Derivation, len(group[side]))
			for i := 0; i < len(group[side]) && m.load != nil; i++ {
				var err error
				if loaded[side][i], err = m.load(side, group[side][i].path); err != nil {
					return err
				}
			}
		}
		g := &inputGroup{matcher: m, inputs: group, loaded: loaded}
		g.pairUnique(g.mentions)
		g.pairUnique(func(side int) [][]string {
			keys := make([][]string, len(group[side]))
			for i, in := range group[side] {
				keys[i] = []string{string(in.used.append(nil))}
			}
			return keys
		})
		g.pairAlike()
	}
	for side := range group {
		for _, in := range group[side] {
			if in.path != "" {
				m.left[side] = append(m.left[side], in)
			}
		}
	}
	return nil
}

// An inputGroup is a group of inputs with one name. A paired input has no path.
type inputGroup struct {
	matcher *inputMatcher
	inputs  *[2][]inputUse
	loaded  [2][]*Derivation
}

func (g *inputGroup) pair(i, j int) {
	g.matcher.pair(g.inputs[0][i], g.inputs[1][j])
	g.inputs[0][i], g.inputs[1][j] = inputUse{}, inputUse{}
}

// pairUnique pairs an input of each side if a key belongs to them and to no other input.
func (g *inputGroup) pairUnique(keysOf func(side int) [][]string) {
	const several = -1
	var owner [2]map[string]int
	keys := [2][][]string{keysOf(0), keysOf(1)}
	for side := range keys {
		owner[side] = map[string]int{}
		for i := range keys[side] {
			if g.inputs[side][i].path == "" {
				continue
			}
			for _, key := range keys[side][i] {
				if _, taken := owner[side][key]; taken {
					owner[side][key] = several
				} else {
					owner[side][key] = i
				}
			}
		}
	}
	for i := range keys[0] {
		for _, key := range keys[0][i] {
			j, ok := owner[1][key]
			if ok && j != several && owner[0][key] == i && g.inputs[0][i].path != "" && g.inputs[1][j].path != "" {
				g.pair(i, j)
			}
		}
	}
}

// mentions returns for each input of a side the variables and arguments that mention its outputs.
func (g *inputGroup) mentions(side int) [][]string {
	keys := make([][]string, len(g.inputs[side]))
	drv := g.matcher.drvs[side]
	for i, in := range g.inputs[side] {
		if in.path == "" {
			continue
		}
		texts := outputMentions(in.path, g.loaded[side][i])
		for name, value := range drv.Env.All() {
			if name == StructuredAttrsKey {
				keys[i] = append(keys[i], attributesOf(value, texts)...)
			} else if containsAny(value, texts) {
				keys[i] = append(keys[i], "variable "+name)
			}
		}
		for n, arg := range drv.Args {
			if containsAny(arg, texts) {
				keys[i] = append(keys[i], "argument "+strconv.Itoa(n))
			}
		}
	}
	return keys
}

// outputMentions returns the texts that stand for outputs of an input in the derivation that uses it.
func outputMentions(path storepath.Path, d *Derivation) []string {
	texts := []string{string(path)}
	if d == nil {
		return texts
	}
	for name, o := range d.Outputs.All() {
		if o.path != "" {
			texts = append(texts, string(o.path))
		} else if placeholder, err := storepath.OutputPlaceholder(path, name); err == nil {
			texts = append(texts, string(placeholder))
		}
	}
	return texts
}

// containsAny reports whether s contains one of the texts.
func containsAny(s string, texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(s, text) })
}

// attributesOf returns the names that stand before the texts in JSON, as the attribute whose value mentions them.
func attributesOf(json string, texts []string) (keys []string) {
	for _, text := range texts {
		i := strings.Index(json, text)
		if i < 0 {
			continue
		}
		if end := strings.LastIndex(json[:i], `":`); end >= 0 {
			begin := strings.LastIndexByte(json[:end], '"')
			keys = append(keys, "attribute "+json[begin+1:end])
		}
	}
	return keys
}

// maxAlike limits the number of inputs of a side that pairAlike compares with each other.
const maxAlike = 64

// pairAlike pairs inputs that are more like each other than like any other input of the group.
func (g *inputGroup) pairAlike() {
	n, m := len(g.inputs[0]), len(g.inputs[1])
	if n > maxAlike || m > maxAlike {
		return
	}
	scores := make([][]float64, n)
	for i := range scores {
		scores[i] = make([]float64, m)
		for j := range scores[i] {
			if a, b := g.loaded[0][i], g.loaded[1][j]; a != nil && b != nil && g.inputs[0][i].path != "" && g.inputs[1][j].path != "" {
				scores[i][j] = likeness(a, b)
			}
		}
	}
	for i := range scores {
		for j, score := range scores[i] {
			if score < minLikeness {
				continue
			}
			best := true
			for k := range m {
				best = best && (k == j || scores[i][k] < score)
			}
			for k := range n {
				best = best && (k == i || scores[k][j] < score)
			}
			if best {
				g.pair(i, j)
			}
		}
	}
}

// minLikeness is the likeness below which two derivations are no versions of each other.
const minLikeness = 0.5

// likeness returns how alike two derivations are, from 0 to 1: the mean likeness of their variables and arguments.
func likeness(a, b *Derivation) float64 {
	sum, n := 0.0, 0
	for name, value := range a.Env.All() {
		n++
		if other, ok := b.Env.Get(name); ok {
			sum += textLikeness(value, other)
		}
	}
	for name := range b.Env.Keys() {
		if !a.Env.Has(name) {
			n++
		}
	}
	for i := range max(len(a.Args), len(b.Args)) {
		n++
		if i < len(a.Args) && i < len(b.Args) {
			sum += textLikeness(a.Args[i], b.Args[i])
		}
	}
	return (sum + textLikeness(a.Builder, b.Builder)) / float64(n+1)
}

// textLikeness returns which part of two texts their common prefix and suffix are.
func textLikeness(a, b string) float64 {
	if a == b {
		return 1
	}
	before := 0
	for before < len(a) && before < len(b) && a[before] == b[before] {
		before++
	}
	a, b = a[before:], b[before:]
	after := 0
	for after < len(a) && after < len(b) && a[len(a)-1-after] == b[len(b)-1-after] {
		after++
	}
	return float64(before+after) / float64(before+max(len(a), len(b)))
}
