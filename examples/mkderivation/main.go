// Command mkderivation declares packages in Go as nixpkgs declares them in Nix, on a standard environment that
// nixpkgs created. It prints the path of each derivation, and whether nixpkgs computed the same path.
//
// The declarations are the ones of the files pkgs/gnu-config/default.nix and
// build-support/setup-hooks/update-autotools-gnu-config-scripts.sh in corepkgs, whose derivations are in testdata.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"pix/derivation"
	"pix/pixpkgs"
	"pix/storepath"
)

var source = flag.String("source", "testdata/corepkgs", "the directory with the derivations of nixpkgs")

func main() {
	log.SetFlags(0)
	flag.Parse()
	if err := run(context.Background(), *source, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// The derivations of nixpkgs that are inputs, or are compared.
const (
	stage0Libc  = storepath.Path("/nix/store/wvz9is43hj9pxx7hcscx5dw1nfikx2av-bootstrap-stage0-glibc-bootstrapFiles.drv")
	configGuess = storepath.Path("/nix/store/bamwxswxacs3cjdcydv0z7bj22d7g2kc-config.guess-948ae97.drv")
	configSub   = storepath.Path("/nix/store/nbsdqpfzh1jlpmh95s69b3iivfcvv3lh-config.sub-948ae97.drv")
	wantConfig  = storepath.Path("/nix/store/ki9acp3kmqbbpmch02jfjwqr7x47aszb-gnu-config-2024-01-01.drv")
	wantHook    = storepath.Path("/nix/store/z45fmivzd142mmadgklq97rpbx58zglq-update-autotools-gnu-config-scripts-hook.drv")
	hookScript  = storepath.Path("/nix/store/96rvfw5vlv1hwwm9sdxhdkkpjyym6p2x-update-autotools-gnu-config-scripts.sh")
)

func run(ctx context.Context, folder string, out io.Writer) error {
	closure, err := derivation.LoadClosure(ctx, derivation.Directory(folder), []storepath.Path{wantHook, stage0Libc}, nil)
	if err != nil {
		return err
	}
	nixpkgs, err := pixpkgs.FromDerivations(closure)
	if err != nil {
		return err
	}
	stdenv, err := pixpkgs.StdenvOf(nixpkgs[stage0Libc])
	if err != nil {
		return err
	}
	config, err := stdenv.MkDerivation(gnuConfig(nixpkgs[configGuess], nixpkgs[configSub]))
	if err != nil {
		return err
	}
	hook, err := stdenv.MkDerivation(updateScriptsHook(config))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, config.DrvPath(), config.DrvPath() == wantConfig)
	fmt.Fprintln(out, hook.DrvPath(), hook.DrvPath() == wantHook)
	return nil
}

// gnuConfig declares two scripts that find the name of a platform.
func gnuConfig(guess, sub *pixpkgs.Package) pixpkgs.StdenvSpec {
	return pixpkgs.StdenvSpec{
		Pname: "gnu-config", Version: "2024-01-01",
		Attrs: map[string]any{
			"unpackPhase": pixpkgs.Sprintf(`runHook preUnpack
cp %s ./config.guess
cp %s ./config.sub
chmod +w ./config.sub ./config.guess
runHook postUnpack
`, guess, sub),
			"dontUpdateAutotoolsGnuConfigScripts": true,
			"dontConfigure":                       true,
			"dontBuild":                           true,
			"installPhase": `runHook preInstall
install -Dm755 ./config.guess $out/config.guess
install -Dm755 ./config.sub $out/config.sub
runHook postInstall
`,
		},
	}
}

// updateScriptsHook declares a setup hook that replaces the scripts of other packages by the scripts of gnu-config.
func updateScriptsHook(config *pixpkgs.Package) pixpkgs.StdenvSpec {
	return setupHook("update-autotools-gnu-config-scripts-hook", hookScript, map[string]any{"gnu_config": config})
}

// setupHook declares a setup hook, as makeSetupHook of nixpkgs does: a script in which the attributes replace their
// names. In nixpkgs, a function such as buildPythonPackage completes the arguments of mkDerivation. Here it completes
// a StdenvSpec.
func setupHook(name string, script storepath.Path, attrs map[string]any) pixpkgs.StdenvSpec {
	file := pixpkgs.StorePath(script)
	attrs["buildCommand"] = pixpkgs.Sprintf(`mkdir -p $out/nix-support
cp %s $out/nix-support/setup-hook
recordPropagatedDependencies
substituteAll %s $out/nix-support/setup-hook
`, file, file)
	attrs["passAsFile"] = []string{"buildCommand"}
	return pixpkgs.StdenvSpec{Name: name, StrictDeps: true, EnableParallelBuilding: true, Attrs: attrs}
}
