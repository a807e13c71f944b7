// Command bootstrap builds a compiler with itself, in stages. Each stage is an overlay on the previous one.
//
// The compiler compiles shell scripts to shell scripts by removing comments. The seed compiler, which exists before the
// bootstrap, only copies. So stage 1, which is built with the seed, still has its comments. Stage 2, which is built
// with stage 1, has none. Stage 3, which is built with stage 2, equals stage 2, and that shows that the bootstrap is
// complete.
package main

import (
	"context"
	"embed"
	"fmt"

	"pix/examples/internal/run"
	"pix/pixpkgs"
)

//go:embed src
var src embed.FS

// Toolchain is the package set: a compiler, and a program that is built with it.
type Toolchain struct{ Compiler, Program *pixpkgs.Lazy }

// sources are the source files.
type sources struct{ seed, compiler, program *pixpkgs.Object }

func readSources(ctx context.Context) (s sources, err error) {
	for _, file := range []struct {
		name   string
		object **pixpkgs.Object
	}{{"seed.sh", &s.seed}, {"compiler.sh", &s.compiler}, {"program.sh", &s.program}} {
		if *file.object, err = pixpkgs.SourceFS(ctx, src, "src/"+file.name, nil); err != nil {
			return s, err
		}
	}
	return s, nil
}

// compile declares the output of a compiler for a source file.
func compile(name string, compiler, source any) pixpkgs.Spec {
	return pixpkgs.Spec{
		Name:    name,
		System:  "x86_64-linux",
		Builder: "/bin/sh",
		Args:    []any{"-e", compiler, source},
	}
}

// base returns the set with the seed as its compiler. The seed is built with itself.
func (s sources) base(final *Toolchain) Toolchain {
	return Toolchain{
		Compiler: pixpkgs.Define(func() pixpkgs.Spec { return compile("seed", s.seed, s.seed) }),
		Program:  pixpkgs.Define(func() pixpkgs.Spec { return compile("program", final.Compiler, s.program) }),
	}
}

// stage returns an overlay that builds the compiler with the compiler of the previous stage. That is prev: final is the
// compiler that is being built. The overlay does not mention the program, but the program uses the final compiler,
// so it changes with each stage.
func (s sources) stage(n int) func(final, prev *Toolchain) Toolchain {
	return func(final, prev *Toolchain) Toolchain {
		next := *prev
		next.Compiler = pixpkgs.Define(func() pixpkgs.Spec {
			return compile(fmt.Sprintf("compiler-stage%d", n), prev.Compiler, s.compiler)
		})
		return next
	}
}

// declare returns the compilers of three stages, and the program built with the last one.
func declare(ctx context.Context) (packages []*pixpkgs.Package, err error) {
	s, err := readSources(ctx)
	if err != nil {
		return nil, err
	}
	var overlays []func(final, prev *Toolchain) Toolchain
	var set *Toolchain
	for n := 1; n <= 3; n++ {
		overlays = append(overlays, s.stage(n))
		if set, err = pixpkgs.Fix(s.base, overlays...); err != nil {
			return nil, err
		}
		compiler, err := set.Compiler.Package()
		if err != nil {
			return nil, err
		}
		packages = append(packages, compiler)
	}
	program, err := set.Program.Package()
	return append(packages, program), err
}

func main() { run.Main(declare) }
