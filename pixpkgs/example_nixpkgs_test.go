package pixpkgs_test

import (
	"context"
	"fmt"
	"log"

	"pix/derivation"
	"pix/pixpkgs"
	"pix/storepath"
)

// A package of nixpkgs, declared in Go, has the derivation that nixpkgs created.
func ExampleStdenv_MkDerivation() {
	const (
		example = "/nix/store/ki9acp3kmqbbpmch02jfjwqr7x47aszb-gnu-config-2024-01-01.drv"
		tools   = "/nix/store/05q48dcd4lgk4vh7wyk330gr2fr082i2-bootstrap-tools.drv"
	)
	closure, err := derivation.LoadClosure(context.Background(), derivation.Directory("../testdata/corepkgs"), []storepath.Path{example}, nil)
	if err != nil {
		log.Fatal(err)
	}
	nixpkgs, err := pixpkgs.FromDerivations(closure)
	if err != nil {
		log.Fatal(err)
	}
	stdenv, err := pixpkgs.StdenvOf(nixpkgs[example])
	if err != nil {
		log.Fatal(err)
	}
	libc, err := stdenv.MkDerivation(pixpkgs.StdenvSpec{
		Pname: "bootstrap-stage0-glibc", Version: "bootstrapFiles",
		StrictDeps: true, EnableParallelBuilding: true,
		Attrs: map[string]any{
			"buildCommand": pixpkgs.Sprintf("mkdir -p $out\nln -s %s $out/lib\nln -s %s $out/include\n",
				nixpkgs[tools].Path("lib"), nixpkgs[tools].Path("include-glibc")),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(libc.DrvPath())
	// Output: /nix/store/wvz9is43hj9pxx7hcscx5dw1nfikx2av-bootstrap-stage0-glibc-bootstrapFiles.drv
}

// A package uses the output of a derivation that another package writes.
func ExampleOutputOf() {
	plan, err := pixpkgs.Derive(pixpkgs.Spec{
		Name: "plan.drv", System: "x86_64-linux", Builder: "/bin/planner",
		ContentAddressed: true, OutputHashMode: "text",
	})
	if err != nil {
		log.Fatal(err)
	}
	top, err := pixpkgs.Derive(pixpkgs.Spec{
		Name: "top", System: "x86_64-linux", Builder: "/bin/sh",
		Args: []any{"-c", pixpkgs.Sprintf("cp %s/result $out", pixpkgs.OutputOf(plan, "out"))},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(top.Derivation().IsDynamic(), top.DrvPath().Name())
	// Output: true top.drv
}
