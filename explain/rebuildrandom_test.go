package explain_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pix/derivation"
	"pix/explain"
)

// A packageGraph is a random graph of packages, which is built twice: once as it is, and once with a change in one package.
type packageGraph struct {
	names  []string
	inputs [][]int // of each package, later ones
	fixed  []bool
}

// newPackageGraph returns a graph in which package 0 needs all others, and several packages have the same name.
func newPackageGraph(r *rand.Rand, n int) *packageGraph {
	g := &packageGraph{names: make([]string, n), inputs: make([][]int, n), fixed: make([]bool, n)}
	for i := range n {
		g.names[i] = fmt.Sprintf("p%d-%d.%d", i, r.IntN(3), r.IntN(9))
		if g.fixed[i] = i > n/2 && r.IntN(3) == 0; g.fixed[i] {
			g.names[i] = "source"
		}
		if i > 0 { // some earlier package that is not fixed needs it
			user := r.IntN(i)
			for g.fixed[user] {
				user--
			}
			g.inputs[user] = append(g.inputs[user], i)
		}
	}
	for range n {
		user, input := r.IntN(n), r.IntN(n)
		if user < input {
			g.inputs[user] = append(g.inputs[user], input)
		}
	}
	return g
}

// build adds the packages. One has another version or other contents, and some sources come from elsewhere. It returns package 0.
func (g *packageGraph) build(f fakePackages, changed int, moved map[int]bool) explain.Drv {
	built := make([]explain.Drv, len(g.names))
	for i := len(g.names) - 1; i >= 0; i-- {
		version := fmt.Sprint("version of ", i)
		if i == changed {
			version += " changed"
		}
		if g.fixed[i] {
			built[i] = f.fetch(g.names[i], fmt.Sprint("https://example/", i, moved[i]), version)
			continue
		}
		var inputs []explain.Drv
		seen := map[int]bool{}
		for _, in := range g.inputs[i] {
			if !seen[in] {
				seen[in] = true
				inputs = append(inputs, built[in])
			}
		}
		built[i] = f.add(g.names[i], version, inputs...)
	}
	return built[0]
}

// A change in one package is the only cause of the rebuild, in whichever package it is, and whatever else differs without effect.
func TestWhyRebuiltByConstruction(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := newPackageGraph(r, 4+r.IntN(16))
		changed := r.IntN(len(g.names))
		moved := map[int]bool{}
		for i := range g.names {
			moved[i] = g.fixed[i] && i != changed && r.IntN(2) == 0
		}
		f := fakePackages{t, texts{}}
		old, current := g.build(f, -1, nil), g.build(f, changed, moved)
		rebuild, err := explain.WhyRebuilt(t.Context(), old, current)
		if err != nil {
			t.Fatal(err)
		}
		want := "variable version of " + g.names[changed]
		if g.fixed[changed] {
			want = "output out of source"
		}
		var causes []string
		for _, c := range rebuild.Causes {
			causes = append(causes, c.String())
		}
		if rebuild.Same || strings.Join(causes, ", ") != want {
			t.Errorf("seed %d: the causes are %q, want %q", seed, causes, want)
		}
	}
}

// An input that is only on one side is no cause if another input has the same hash, and so the same entry in the text.
func TestWhyRebuiltWithMergedInputs(t *testing.T) {
	f := fakePackages{t, texts{}}
	here, there := f.fetch("src", "https://a.example", "x"), f.fetch("src", "https://b.example", "x")
	tool := func(version string, inputs ...explain.Drv) explain.Drv {
		d := f.add("tool", version).Derivation
		d.Outputs.Set("out", derivation.DeferredOutput())
		for _, in := range inputs {
			d.InputDerivations.Set(in.Path, derivation.OutputsOf("out"))
		}
		return f.finish(d)
	}
	for _, c := range []struct{ old, current []explain.Drv }{
		{[]explain.Drv{here, there}, []explain.Drv{here}},
		{[]explain.Drv{there}, []explain.Drv{here, there}},
		{[]explain.Drv{here, there}, []explain.Drv{there}},
	} {
		r, err := explain.WhyRebuilt(t.Context(), tool("1", c.old...), tool("2", c.current...))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Causes) != 1 || r.Causes[0].String() != "variable version of tool" {
			t.Errorf("the causes are %v", r.Causes)
		}
	}
}

// A variable with the path of a .drv file changes the hash, although the hash of that derivation is the same.
func TestWhyRebuiltByNameOfDerivation(t *testing.T) {
	f := fakePackages{t, texts{}}
	tool := func(src explain.Drv) explain.Drv {
		d := f.add("tool", "1", src).Derivation
		d.Outputs.Set("out", derivation.DeferredOutput())
		d.Env.Set("drv", string(src.Path))
		return f.finish(d)
	}
	r, err := explain.WhyRebuilt(t.Context(), tool(f.fetch("src", "https://a.example", "x")), tool(f.fetch("src", "https://b.example", "x")))
	if err != nil {
		t.Fatal(err)
	}
	if r.Same || len(r.Causes) != 1 || r.Causes[0].String() != "variable drv of tool" {
		t.Errorf("same %v, the causes are %v", r.Same, r.Causes)
	}
}
