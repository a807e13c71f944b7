package docs_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pix/closure"
	"pix/derivation"
	"pix/pixpkgs"
	"pix/storepath"
)

// Desktop is a set of packages.
type Desktop struct {
	Fetcher, Source          *pixpkgs.Lazy // a program that downloads, and its download
	Library, Program, Manual *pixpkgs.Lazy
	System                   *pixpkgs.Lazy // refers to the program and the manual
}

// desktop declares the packages. final is the finished set, with all overlays applied.
func desktop(final *Desktop) Desktop {
	return Desktop{
		Fetcher: pixpkgs.Define(func() pixpkgs.Spec { return script("fetcher", "build fetcher > $out") }),
		Source: pixpkgs.Define(func() pixpkgs.Spec {
			s := script("source", "%s https://example.org/source > $out", final.Fetcher)
			s.OutputHash = "sha256-uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="
			return s
		}),
		Library: pixpkgs.Define(func() pixpkgs.Spec { return script("library", "compile %s > $out", final.Source) }),
		Program: pixpkgs.Define(func() pixpkgs.Spec { return script("program", "link program %s > $out", final.Library) }),
		Manual:  pixpkgs.Define(func() pixpkgs.Spec { return script("manual", "echo read me > $out") }),
		System:  pixpkgs.Define(func() pixpkgs.Spec { return script("system", "echo %s %s > $out", final.Program, final.Manual) }),
	}
}

// script declares a package that a shell builds. The text mentions its dependencies.
func script(name, text string, deps ...any) pixpkgs.Spec {
	return pixpkgs.Spec{Name: name, System: "x86_64-linux", Builder: "/bin/sh", Args: []any{"-ec", pixpkgs.Sprintf(text, deps...)}}
}

// debug is an overlay: it builds the library with symbols for a debugger.
func debug(final, prev *Desktop) Desktop {
	next := *prev
	next.Library = prev.Library.Override(func(s *pixpkgs.Spec) {
		s.Env = map[string]any{"CFLAGS": "-g"}
	})
	return next
}

// fetcher2 is an overlay with a new version of the fetcher.
func fetcher2(final, prev *Desktop) Desktop {
	next := *prev
	next.Fetcher = pixpkgs.Define(func() pixpkgs.Spec { return script("fetcher", "build fetcher 2 > $out") })
	return next
}

// endless is an overlay with a mistake: it takes the library from the finished set.
func endless(final, prev *Desktop) Desktop {
	next := *prev
	next.Library = pixpkgs.Define(func() pixpkgs.Spec { return script("patched", "patch %s > $out", final.Library) })
	return next
}

// A stage is a compiler, and the library that its programs need.
type Stage struct{ Compiler, Library *pixpkgs.Lazy }

// seed declares the compiler of another machine, and the library for which it was compiled there.
func seed(final *Stage) Stage {
	library := pixpkgs.Define(func() pixpkgs.Spec { return compile("seed-library", "a library", nil, nil) })
	return Stage{
		Compiler: pixpkgs.Define(func() pixpkgs.Spec { return compile("seed-compiler", "a compiler", nil, library) }),
		Library:  library,
	}
}

// stage is an overlay that builds everything again, with the compiler of the stage below it.
func stage(n int) func(final, prev *Stage) Stage {
	return func(final, prev *Stage) Stage {
		return Stage{
			Compiler: pixpkgs.Define(func() pixpkgs.Spec {
				return compile(fmt.Sprintf("compiler%d", n), "a compiler", prev.Compiler, prev.Library)
			}),
			Library: pixpkgs.Define(func() pixpkgs.Spec {
				return compile(fmt.Sprintf("library%d", n), "a library", prev.Compiler, nil)
			}),
		}
	}
}

// compile declares the result of a compiler for a source. The result needs the library when it runs.
func compile(name, source string, compiler, library *pixpkgs.Lazy) pixpkgs.Spec {
	s := pixpkgs.Spec{Name: name, System: "x86_64-linux", Builder: "/bin/compile"}
	if compiler != nil {
		s.Args = append(s.Args, "-with", compiler)
	}
	if library != nil {
		s.Args = append(s.Args, "-link", library)
	}
	s.Args = append(s.Args, source)
	return s
}

// system derives the packages of a set with overlays.
func system(t *testing.T, overlays ...func(final, prev *Desktop) Desktop) map[string]*pixpkgs.Package {
	t.Helper()
	set, err := pixpkgs.Fix(desktop, overlays...)
	checkErr(t, err)
	all, err := pixpkgs.All(set)
	checkErr(t, err)
	return all
}

var packageNames = []string{"Fetcher", "Source", "Library", "Program", "Manual", "System"}

// changes returns for each package whether its derivation and its output differ.
func changes(before, after map[string]*pixpkgs.Package) string {
	lines := []string{"package\tderivation\toutput"}
	changed := map[bool]string{true: "the same", false: "changed"}
	for _, name := range packageNames {
		a, b := before[name], after[name]
		lines = append(lines, name+"\t"+changed[a.DrvPath() == b.DrvPath()]+"\t"+changed[a.String() == b.String()])
	}
	return table(lines...)
}

// loader returns a loader of the derivations that packages need.
func loader(packages ...*pixpkgs.Package) derivation.Loader {
	texts := make(map[storepath.Path]string)
	for len(packages) > 0 {
		p := packages[0]
		texts[p.DrvPath()] = p.Derivation().String()
		packages = append(packages[1:], p.Dependencies()...)
	}
	return derivation.LoaderFunc(func(_ context.Context, path storepath.Path) (string, error) { return texts[path], nil })
}

// causes returns the differences between two packages that follow from no other, and the number of pairs that differ.
func causes(t *testing.T, a, b *pixpkgs.Package) string {
	t.Helper()
	diff, err := derivation.DiffClosure(t.Context(), a.Derivation(), loader(a), b.Derivation(), loader(b), nil)
	checkErr(t, err)
	pairs := make(map[*derivation.Difference]bool)
	var count func(d *derivation.Difference)
	count = func(d *derivation.Difference) {
		pairs[d] = true
		for _, input := range d.Inputs {
			if input.Difference != nil {
				count(input.Difference)
			}
		}
	}
	count(diff)
	lines := []string{fmt.Sprintf("derivations that differ\t%d", len(pairs))}
	for _, c := range diff.Causes() {
		lines = append(lines, "cause\t"+c.String())
	}
	return table(lines...)
}

// affecting returns the names of the derivations on which the output path of a package depends, and the others.
func affecting(t *testing.T, p *pixpkgs.Package) string {
	t.Helper()
	drvs, err := derivation.LoadClosure(t.Context(), loader(p), []storepath.Path{p.DrvPath()}, nil)
	checkErr(t, err)
	affect, err := closure.Affecting(drvs, p.DrvPath())
	checkErr(t, err)
	var yes, no []string
	for path := range drvs.All() {
		name := strings.TrimSuffix(path.Name(), storepath.DerivationExt)
		if slices.Contains(affect, path) {
			yes = append(yes, name)
		} else {
			no = append(no, name)
		}
	}
	slices.Sort(yes)
	return table("affect the output of "+p.Name()+"\t"+strings.Join(yes, ", "), "do not\t"+strings.Join(no, ", "))
}

// stages builds the seed and the compilers of three stages, and returns the sizes and names of their closures.
func stages(t *testing.T) string {
	t.Helper()
	w := newWorkshop(t, "compile")
	lines := []string{"stage\tderivations, to build the compiler\tpaths, to run it"}
	var overlays []func(final, prev *Stage) Stage
	for n := range 4 {
		if n > 0 {
			overlays = append(overlays, stage(n))
		}
		set, err := pixpkgs.Fix(seed, overlays...)
		checkErr(t, err)
		compiler, err := set.Compiler.Package()
		checkErr(t, err)
		built, err := pixpkgs.Realize(t.Context(), w.store, compiler)
		checkErr(t, err)
		toBuild, err := closure.Load(t.Context(), w.store, compiler.DrvPath())
		checkErr(t, err)
		toRun, err := closure.Load(t.Context(), w.store, built[0].Outputs["out"])
		checkErr(t, err)
		lines = append(lines, fmt.Sprintf("%d\t%d\t%s", n, toBuild.Len(), strings.Join(pathNames(toRun.Paths()), ", ")))
	}
	return table(lines...)
}

func TestOverlaysPage(t *testing.T) {
	plain, debugged, refetched := system(t), system(t, debug), system(t, fetcher2)
	set, err := pixpkgs.Fix(desktop, endless)
	checkErr(t, err)
	_, err = set.System.Package()
	if err == nil {
		t.Fatal("the library does not need itself")
	}
	check(t, "overlays.md", map[string]string{
		"set":          source(t, "overlays_test.go", "Desktop", "desktop", "script"),
		"debug":        source(t, "overlays_test.go", "debug"),
		"debug-paths":  table("before\t"+plain["System"].String(), "after\t"+debugged["System"].String()),
		"debugged":     changes(plain, debugged),
		"causes":       causes(t, plain["System"], debugged["System"]),
		"fetcher":      source(t, "overlays_test.go", "fetcher2"),
		"refetched":    changes(plain, refetched),
		"affecting":    affecting(t, plain["System"]),
		"refetch-diff": causes(t, plain["System"], refetched["System"]),
		"endless":      source(t, "overlays_test.go", "endless"),
		"error":        err.Error(),
		"seed":         source(t, "overlays_test.go", "Stage", "seed", "stage", "compile"),
		"stages":       stages(t),
	})
}
