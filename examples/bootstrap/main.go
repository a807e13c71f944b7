// Command bootstrap builds a compiler with itself, in stages, each an overlay on the one
// before.
//
// The language is that of the shell, and all that the compiler does is to remove comments.
// The seed, which somebody else made, cannot even do that: it copies. So stage 1, built with
// the seed, is a compiler that still has its comments. Stage 2, built with stage 1, has
// none. Stage 3, built with stage 2, is stage 2 again, byte for byte, and that is how one
// sees that the bootstrap has come to its end.
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

// Toolchain is the set: the compiler, and a program that is built with it.
type Toolchain struct{ Compiler, Program *pixpkgs.Lazy }

// sources are the files that are compiled.
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

// compile declares what a compiler makes of a source.
func compile(name string, compiler, source any) pixpkgs.Spec {
	return pixpkgs.Spec{
		Name:    name,
		System:  "x86_64-linux",
		Builder: "/bin/sh",
		Args:    []any{"-e", compiler, source},
	}
}

// base is the set with the seed as its compiler, which has been made with itself.
func (s sources) base(final *Toolchain) Toolchain {
	return Toolchain{
		Compiler: pixpkgs.Define(func() pixpkgs.Spec { return compile("seed", s.seed, s.seed) }),
		Program:  pixpkgs.Define(func() pixpkgs.Spec { return compile("program", final.Compiler, s.program) }),
	}
}

// stage is an overlay: the compiler, built with the compiler below. That is prev: final
// would be the compiler that is being built. The program is not mentioned here, but it
// uses the final compiler, and so it changes with each stage.
func (s sources) stage(n int) func(final, prev *Toolchain) Toolchain {
	return func(final, prev *Toolchain) Toolchain {
		next := *prev
		next.Compiler = pixpkgs.Define(func() pixpkgs.Spec {
			return compile(fmt.Sprintf("compiler-stage%d", n), prev.Compiler, s.compiler)
		})
		return next
	}
}

// declare returns the compilers of three stages, and the program that the last one makes.
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
