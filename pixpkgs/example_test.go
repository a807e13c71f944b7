package pixpkgs_test

import (
	"context"
	"fmt"
	"log"

	"pix/daemon"
	"pix/derivation"
	"pix/pixpkgs"
	"pix/storepath"
)

// shell returns a package with which the other examples build.
func shell() *pixpkgs.Package {
	p, err := pixpkgs.Derive(pixpkgs.Spec{Name: "bash", System: "x86_64-linux", Builder: "/bin/sh"})
	if err != nil {
		log.Fatal(err)
	}
	return p
}

// One package depends on another. Mentioning it declares the dependency.
func Example() {
	bash, err := pixpkgs.Derive(pixpkgs.Spec{
		Name:    "bash",
		System:  "x86_64-linux",
		Builder: "/bin/sh",
	})
	if err != nil {
		log.Fatal(err)
	}
	hello, err := pixpkgs.Derive(pixpkgs.Spec{
		Name:    "hello",
		System:  "x86_64-linux",
		Builder: bash.Path("bin/bash"),
		Args:    []any{"-c", "echo hello > $out"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(hello)
	// Output: /nix/store/8vgv5ah5cnbm39knv2hd6hbbzjw7acfb-hello
}

// A plain string remembers nothing, so it cannot declare a dependency.
func ExampleDerive_undeclared() {
	bash := shell()
	_, err := pixpkgs.Derive(pixpkgs.Spec{
		Name:    "hello",
		System:  "x86_64-linux",
		Builder: fmt.Sprintf("%s/bin/bash", bash),
	})
	fmt.Println(err)
	// Output:
	// package "hello", Builder: a plain string contains /nix/store/6nyh1pm4bp31rxixagnw6bs2hphlqmdk-bash, but package "bash" is not declared: use pixpkgs.Sprintf or add it to Deps
}

func ExampleSprintf() {
	bash := shell()
	script := pixpkgs.Sprintf("#!%s/bin/bash\necho hello", bash)
	hello, err := pixpkgs.Derive(pixpkgs.Spec{
		Name: "hello", System: "x86_64-linux", Builder: "/bin/sh",
		Args: []any{"-c", script},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(script)
	fmt.Println(hello.Dependencies())
	// Output:
	// #!/nix/store/6nyh1pm4bp31rxixagnw6bs2hphlqmdk-bash/bin/bash
	// echo hello
	// [/nix/store/6nyh1pm4bp31rxixagnw6bs2hphlqmdk-bash]
}

func ExamplePackage_Override() {
	plain, err := pixpkgs.Derive(pixpkgs.Spec{
		Name: "app", System: "x86_64-linux", Builder: "/bin/sh",
		Env: map[string]any{"flags": []string{"-O2"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	debug, err := plain.Override(func(s *pixpkgs.Spec) {
		s.Name = "app-debug"
		s.Env["flags"] = pixpkgs.Join(" ", s.Env["flags"], "-g")
	})
	if err != nil {
		log.Fatal(err)
	}
	flags, _ := debug.Derivation().Env.Get("flags")
	fmt.Println(debug.Name(), flags)
	// Output: app-debug -O2 -g
}

// A set is a struct, and an overlay is a function from one to the next.
func ExampleFix() {
	type Tools struct{ Compiler, App *pixpkgs.Lazy }
	tools := func(final *Tools) Tools {
		return Tools{
			Compiler: pixpkgs.Define(func() pixpkgs.Spec {
				return pixpkgs.Spec{Name: "gcc-13", System: "x86_64-linux", Builder: "/bin/sh"}
			}),
			App: pixpkgs.Define(func() pixpkgs.Spec {
				return pixpkgs.Spec{Name: "app", System: "x86_64-linux", Builder: final.Compiler.Path("bin/gcc")}
			}),
		}
	}
	newer := func(final, prev *Tools) Tools {
		next := *prev
		next.Compiler = prev.Compiler.Override(func(s *pixpkgs.Spec) { s.Name = "gcc-14" })
		return next
	}
	set, err := pixpkgs.Fix(tools, newer)
	if err != nil {
		log.Fatal(err)
	}
	app, err := set.App.Package()
	if err != nil {
		log.Fatal(err)
	}
	for _, dep := range app.Dependencies() {
		fmt.Println(dep.Name())
	}
	// Output: gcc-14
}

func ExampleFetchURL() {
	source, err := pixpkgs.FetchURL("https://example.org/hello-1.0.tar.gz", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(source)
	// Output:
	// /nix/store/p9fj0s6273x696awvd32dhn7pm020ca5-hello-1.0.tar.gz
}

// A package deep in a closure that Nix wrote gets a new version. The packages that depend on it get
// the same paths as in Nix.
func ExampleFromDerivations() {
	const root = "/nix/store/khayb3vq6q86as6zjzmc6dsx5z078695-bootstrap-stage1-stdenv-linux.drv"
	closure, err := derivation.LoadClosure(context.Background(), derivation.Directory("../testdata/corepkgs"), []storepath.Path{root}, nil)
	if err != nil {
		log.Fatal(err)
	}
	packages, err := pixpkgs.FromDerivations(closure)
	if err != nil {
		log.Fatal(err)
	}
	tools := packages["/nix/store/05q48dcd4lgk4vh7wyk330gr2fr082i2-bootstrap-tools.drv"]
	patched, err := tools.Override(func(s *pixpkgs.Spec) { s.Env["patched"] = true })
	if err != nil {
		log.Fatal(err)
	}
	stdenv, err := packages[root].Replace(tools, patched)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(packages[root])
	fmt.Println(stdenv)
	// Output:
	// /nix/store/gz6rplkvmxmph2gvpg555qxrvxgy79qn-bootstrap-stage1-stdenv-linux
	// /nix/store/xanvvvx73nfnc2v1m3hlrnvn9rlfx4f6-bootstrap-stage1-stdenv-linux
}

func ExampleRealize() {
	hello, err := pixpkgs.Derive(pixpkgs.Spec{
		Name: "hello", System: pixpkgs.HostSystem(), Builder: "/bin/sh",
		Args: []any{"-c", "echo hello > $out"},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	store, err := daemon.Open(ctx, daemon.Unix{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	built, err := pixpkgs.Realize(ctx, store, hello)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(built[0].Outputs["out"])
}
