package pixpkgs_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pix/pixpkgs"
)

// A tools is a set: a compiler, a library that is built with it, and a program that uses both.
type tools struct {
	Compiler, Library, Program, Other *pixpkgs.Lazy
	Version                           string
}

// A count counts how often each recipe is called.
type count struct{ compiler, library, program, other atomic.Int32 }

func base(c *count) func(final *tools) tools {
	return func(final *tools) tools {
		return tools{
			Version: "1",
			Compiler: pixpkgs.Define(func() pixpkgs.Spec {
				c.compiler.Add(1)
				return pixpkgs.Spec{Name: "compiler", System: "x86_64-linux", Builder: "/bin/sh", Env: env{"v": "1"}}
			}),
			Library: pixpkgs.Define(func() pixpkgs.Spec {
				c.library.Add(1)
				return pixpkgs.Spec{Name: "library", System: "x86_64-linux", Builder: final.Compiler.Path("bin/cc"), Outputs: []string{"out", "dev"}}
			}),
			Program: pixpkgs.Define(func() pixpkgs.Spec {
				c.program.Add(1)
				return pixpkgs.Spec{Name: "program", System: "x86_64-linux", Builder: final.Compiler.Path("bin/cc"),
					Args: list{pixpkgs.Sprintf("-I%s/include", final.Library.Out("dev"))}, Env: env{"libs": list{final.Library}}}
			}),
			Other: pixpkgs.Define(func() pixpkgs.Spec {
				c.other.Add(1)
				return pixpkgs.Spec{Name: "other", System: "x86_64-linux", Builder: "/bin/sh"}
			}),
		}
	}
}

// inNix is the same set in Nix, with the overlays of the tests below.
const inNix = `let
  mk = attrs: derivation ({ system = "x86_64-linux"; builder = "/bin/sh"; } // attrs);
  base = final: {
    Compiler = mk { name = "compiler"; v = "1"; };
    Library = mk { name = "library"; builder = "${final.Compiler}/bin/cc"; outputs = [ "out" "dev" ]; };
    Program = mk { name = "program"; builder = "${final.Compiler}/bin/cc"; args = [ "-I${final.Library.dev}/include" ]; libs = [ final.Library ]; };
    Other = mk { name = "other"; };
  };
  one = final: prev: { Compiler = derivation (prev.Compiler.drvAttrs // { v = "2"; }); };
  two = final: prev: { Compiler = mk { name = "wrapper"; real = prev.Compiler; helper = final.Other; }; };
  fix = f: let x = f x; in x;
  extend = f: o: final: let prev = f final; in prev // o final prev;
in builtins.mapAttrs (_: s: builtins.mapAttrs (_: p: p.drvPath) s) {
  plain = fix base;
  one = fix (extend base one);
  both = fix (extend (extend base one) two);
}
`

func one(final, prev *tools) tools {
	next := *prev
	next.Compiler = prev.Compiler.Override(func(s *pixpkgs.Spec) { s.Env["v"] = "2" })
	return next
}

func two(final, prev *tools) tools {
	next := *prev
	next.Compiler = pixpkgs.Define(func() pixpkgs.Spec {
		return pixpkgs.Spec{Name: "wrapper", System: "x86_64-linux", Builder: "/bin/sh", Env: env{"real": prev.Compiler, "helper": final.Other}}
	})
	return next
}

func fix(t *testing.T, c *count, overlays ...func(final, prev *tools) tools) *tools {
	t.Helper()
	set, err := pixpkgs.Fix(base(c), overlays...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// drvPaths returns the derivation paths of a set by name.
func drvPaths(t *testing.T, set *tools) map[string]string {
	t.Helper()
	all, err := pixpkgs.All(set)
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{}
	for name, p := range all {
		paths[name] = string(p.DrvPath())
	}
	return paths
}

func TestOverlay(t *testing.T) {
	plain, changed := drvPaths(t, fix(t, new(count))), drvPaths(t, fix(t, new(count), one))
	for name := range plain {
		if same := plain[name] == changed[name]; same != (name == "Other") {
			t.Errorf("%s is %s, but %s with the overlay", name, plain[name], changed[name])
		}
	}
	if again := drvPaths(t, fix(t, new(count))); fmt.Sprint(again) != fmt.Sprint(plain) {
		t.Errorf("%v, but %v the second time", plain, again)
	}
}

func TestEachIsComputedOnce(t *testing.T) {
	c := new(count)
	set := fix(t, c, one, two)
	if c.compiler.Load()+c.library.Load()+c.program.Load() != 0 {
		t.Error("recipes are called before a package is needed")
	}
	var wg sync.WaitGroup
	results := make([]*pixpkgs.Package, 64)
	for i := range results {
		wg.Go(func() {
			lazy := []*pixpkgs.Lazy{set.Program, set.Library, set.Compiler, set.Program}[i%4]
			p, err := lazy.Package()
			if err != nil {
				t.Error(err)
			}
			results[i] = p
		})
	}
	wg.Wait()
	for i := range results {
		if results[i] != results[i%4] || results[0] != results[3] {
			t.Errorf("two calls returned different packages")
		}
	}
	if c.compiler.Load() != 1 || c.library.Load() != 1 || c.program.Load() != 1 || c.other.Load() != 1 {
		t.Errorf("recipes were called %d, %d, %d and %d times", c.compiler.Load(), c.library.Load(), c.program.Load(), c.other.Load())
	}
}

// graph returns a set in which each package needs the given others.
func graph(needs map[string][]string) func(final *map[string]*pixpkgs.Lazy) map[string]*pixpkgs.Lazy {
	return func(final *map[string]*pixpkgs.Lazy) map[string]*pixpkgs.Lazy {
		set := map[string]*pixpkgs.Lazy{}
		for name, others := range needs {
			set[name] = pixpkgs.Define(func() pixpkgs.Spec {
				s := pixpkgs.Spec{Name: name, System: "x86_64-linux", Builder: "/bin/sh"}
				for _, other := range others {
					s.Deps = append(s.Deps, (*final)[other])
				}
				return s
			})
		}
		return set
	}
}

func TestCycle(t *testing.T) {
	for _, test := range []struct {
		needs map[string][]string
		root  string
		want  []string
	}{
		{map[string][]string{"a": {"a"}}, "a", []string{"a"}},
		{map[string][]string{"a": {"b"}, "b": {"a"}}, "a", []string{"a", "b"}},
		{map[string][]string{"root": {"x", "a"}, "x": nil, "a": {"x", "b"}, "b": {"c", "x"}, "c": {"a"}}, "root", []string{"a", "b", "c"}},
	} {
		set, err := pixpkgs.Fix(graph(test.needs))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, err := (*set)[test.root].Package()
				var cycle *pixpkgs.CycleError
				if !errors.As(err, &cycle) || !slices.Equal(cycle.Names, test.want) {
					t.Errorf("%v: %v", test.needs, err)
				}
			})
		}
		wg.Wait()
		if p := (*set)["x"]; p != nil {
			if _, err := p.Package(); err != nil {
				t.Errorf("a package that is not in a cycle: %v", err)
			}
		}
	}
}

// Deriving a deep set does not overflow the stack.
func TestDeepSet(t *testing.T) {
	const depth = 20_000
	needs := map[string][]string{"p0": nil}
	for i := 1; i < depth; i++ {
		needs[fmt.Sprintf("p%d", i)] = []string{fmt.Sprintf("p%d", i-1)}
	}
	set, err := pixpkgs.Fix(graph(needs))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (*set)[fmt.Sprintf("p%d", depth-1)].Package(); err != nil {
		t.Fatal(err)
	}
}

// In a set that is a map, an overlay sees the packages of the overlays below, but not of those above.
func TestOverlaysOfMap(t *testing.T) {
	type set = map[string]*pixpkgs.Lazy
	overlay := func(final, prev *set) set {
		below := (*prev)["b"]
		(*prev)["b"] = below.Override(func(s *pixpkgs.Spec) { s.Env["was"] = below })
		return *prev
	}
	plain, err := pixpkgs.Fix(graph(map[string][]string{"a": {"b"}, "b": nil}))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := pixpkgs.Fix(graph(map[string][]string{"a": {"b"}, "b": nil}), overlay, overlay)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		p, err := (*plain)[name].Package()
		if err != nil {
			t.Fatal(err)
		}
		q, err := (*changed)[name].Package()
		if err != nil {
			t.Fatal(err)
		}
		if p.DrvPath() == q.DrvPath() {
			t.Errorf("%s has not changed", name)
		}
	}
}

// A package of a set has the error of a package that it needs. A recipe that derives a package gets an
// error instead of a deadlock.
func TestErrorsInSets(t *testing.T) {
	type set struct{ A, B *pixpkgs.Lazy }
	bad := errors.New("no recipe today")
	simple := pixpkgs.Spec{Name: "b", System: "x86_64-linux", Builder: "/bin/sh"}
	a := func(final *set, more func(*pixpkgs.Spec)) *pixpkgs.Lazy {
		return pixpkgs.Define(func() pixpkgs.Spec {
			s := pixpkgs.Spec{Name: "a", System: "x86_64-linux", Builder: final.B}
			more(&s)
			return s
		})
	}
	nothing := func(*pixpkgs.Spec) {}
	for name, test := range map[string]struct {
		base  func(final *set) set
		wants []string
	}{
		"failing recipe": {func(final *set) set {
			return set{a(final, nothing), pixpkgs.DefineErr(func() (pixpkgs.Spec, error) { return simple, bad })}
		}, []string{bad.Error()}},
		"bad spec": {func(final *set) set {
			return set{a(final, nothing), pixpkgs.Define(func() pixpkgs.Spec { return pixpkgs.Spec{Name: "b"} })}
		}, []string{`"b"`, "System"}},
		"no such output": {func(final *set) set {
			return set{a(final, func(s *pixpkgs.Spec) { s.Args = list{final.B.Out("doc")} }), pixpkgs.Define(func() pixpkgs.Spec { return simple })}
		}, []string{`"a"`, "Args[0]", `"b"`, `"doc"`}},
		"printed": {func(final *set) set {
			return set{a(final, func(s *pixpkgs.Spec) { s.Args = list{fmt.Sprint(final.B)} }), pixpkgs.Define(func() pixpkgs.Spec { return simple })}
		}, []string{`"a"`, "Args[0]", `"B"`, "pixpkgs.Sprintf"}},
		"asking": {func(final *set) set {
			return set{pixpkgs.DefineErr(func() (pixpkgs.Spec, error) {
				_, err := final.A.Package()
				return simple, err
			}), pixpkgs.Define(func() pixpkgs.Spec { return simple })}
		}, []string{"recipe"}},
		"deriving": {func(final *set) set {
			return set{pixpkgs.DefineErr(func() (pixpkgs.Spec, error) {
				_, err := pixpkgs.Derive(pixpkgs.Spec{Name: "x", System: "s", Builder: final.A})
				return simple, err
			}), pixpkgs.Define(func() pixpkgs.Spec { return simple })}
		}, []string{`"x"`, "recipe"}},
		"of another set": {func(final *set) set {
			return set{pixpkgs.Call(&struct{ C *pixpkgs.Lazy }{}, func(in struct{ B *pixpkgs.Lazy }) pixpkgs.Spec { return simple }), pixpkgs.Define(func() pixpkgs.Spec { return simple })}
		}, []string{"needs B", "*pixpkgs.Lazy"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := pixpkgs.Fix(test.base)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.A.Package()
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not contain %q", err, want)
				}
			}
		})
	}
}

// Fix rejects values that are not complete sets.
func TestFixRejectsInvalid(t *testing.T) {
	type set struct{ A, B *pixpkgs.Lazy }
	if _, err := pixpkgs.Fix(func(*set) set { return set{A: pixpkgs.Ready(dep(t))} }); err == nil || !strings.Contains(err.Error(), `"B"`) {
		t.Errorf("a set without B: %v", err)
	}
	takesFromFinal := func(final *set) set { return set{A: final.B, B: pixpkgs.Ready(dep(t))} }
	if _, err := pixpkgs.Fix(takesFromFinal); err == nil || !strings.Contains(err.Error(), `"A"`) {
		t.Errorf("a set that takes a package from itself: %v", err)
	}
	forgets := func(final, prev *set) set { return set{A: prev.A} }
	if _, err := pixpkgs.Fix(func(*set) set { return set{pixpkgs.Ready(dep(t)), pixpkgs.Ready(dep(t))} }, forgets); err == nil || !strings.Contains(err.Error(), `"B"`) {
		t.Errorf("an overlay that omits a package: %v", err)
	}
	if _, err := pixpkgs.Fix(func(*int) int { return 1 }); err == nil || !strings.Contains(err.Error(), "int") {
		t.Errorf("a number: %v", err)
	}
	set1, err := pixpkgs.Fix(func(final *set) set {
		return set{pixpkgs.Ready(dep(t)), pixpkgs.Ready(dep(t))}
	}, func(final, prev *set) set {
		next := *prev
		next.A = final.A.Override(func(*pixpkgs.Spec) {})
		return next
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set1.A.Package(); err == nil || !strings.Contains(err.Error(), "nil") {
		t.Errorf("an overlay on the final set: %v", err)
	}
}

type needs struct {
	Compiler *pixpkgs.Lazy
	Version  string // by name
	Flags    []int  // by type
}

// A recipe gets its packages by name, and other values by type.
func TestCall(t *testing.T) {
	type set struct {
		Compiler, Program *pixpkgs.Lazy
		Version           string
		Anything          []int
	}
	program := func(in needs) pixpkgs.Spec {
		return pixpkgs.Spec{Name: "program", System: "x86_64-linux", Builder: in.Compiler, Env: env{"version": in.Version, "flags": in.Flags}}
	}
	s, err := pixpkgs.Fix(func(final *set) set {
		return set{Compiler: pixpkgs.Ready(dep(t)), Program: pixpkgs.Call(final, program), Version: "1.2", Anything: []int{3, 4}}
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Program.Package()
	if err != nil {
		t.Fatal(err)
	}
	want := mk(t, spec{Name: "program", Builder: dep(t), Env: env{"version": "1.2", "flags": list{3, 4}}})
	if got.DrvPath() != want.DrvPath() {
		t.Errorf("%s instead of %s", got.Derivation(), want.Derivation())
	}
}

func TestReadyWithoutPackage(t *testing.T) {
	if p, err := pixpkgs.Ready(nil).Package(); err == nil || !strings.Contains(err.Error(), "*Package is nil") {
		t.Errorf("Ready(nil) returns %v, %v", p, err)
	}
}
