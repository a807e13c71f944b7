package docs_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pix/derivation"
	"pix/pixpkgs"
	"pix/storepath"
)

// greeting declares a package, and one that depends on it.
func greeting() (*pixpkgs.Package, error) {
	who, err := pixpkgs.Derive(pixpkgs.Spec{
		Name: "who", System: "x86_64-linux", Builder: "/bin/sh",
		Args: []any{"-c", "echo gopher > $out"},
	})
	if err != nil {
		return nil, err
	}
	return pixpkgs.Derive(pixpkgs.Spec{
		Name: "greeting", System: "x86_64-linux", Builder: "/bin/sh",
		Args: []any{"-c", pixpkgs.Sprintf("read who < %s; echo hello, $who > $out", who)},
	})
}

// dynamic declares a package that writes a derivation, and one that uses the output of that derivation.
func dynamic() (*pixpkgs.Package, error) {
	planned, err := pixpkgs.Derive(pixpkgs.Spec{
		Name: "plan.drv", System: "x86_64-linux", Builder: "/bin/planner",
		ContentAddressed: true, OutputHashMode: "text",
	})
	if err != nil {
		return nil, err
	}
	return pixpkgs.Derive(pixpkgs.Spec{
		Name: "top", System: "x86_64-linux", Builder: "/bin/sh",
		Args: []any{"-c", pixpkgs.Sprintf("cp %s/result $out", pixpkgs.OutputOf(planned, "out"))},
	})
}

// gnuConfig declares a package of nixpkgs again. folder has derivations of nixpkgs, example is one that was built with
// the stdenv, and guess and sub are inputs.
func gnuConfig(ctx context.Context, folder string, example, guess, sub storepath.Path) (*pixpkgs.Package, error) {
	closure, err := derivation.LoadClosure(ctx, derivation.Directory(folder), []storepath.Path{example, guess, sub}, nil)
	if err != nil {
		return nil, err
	}
	nixpkgs, err := pixpkgs.FromDerivations(closure)
	if err != nil {
		return nil, err
	}
	stdenv, err := pixpkgs.StdenvOf(nixpkgs[example])
	if err != nil {
		return nil, err
	}
	return stdenv.MkDerivation(pixpkgs.StdenvSpec{
		Pname: "gnu-config", Version: "2024-01-01",
		Attrs: map[string]any{
			"unpackPhase": pixpkgs.Sprintf(`runHook preUnpack
cp %s ./config.guess
cp %s ./config.sub
chmod +w ./config.sub ./config.guess
runHook postUnpack
`, nixpkgs[guess], nixpkgs[sub]),
			"dontUpdateAutotoolsGnuConfigScripts": true,
			"dontConfigure":                       true,
			"dontBuild":                           true,
			"installPhase": `runHook preInstall
install -Dm755 ./config.guess $out/config.guess
install -Dm755 ./config.sub $out/config.sub
runHook postInstall
`,
		},
	})
}

// inputsOf returns the first part of a derivation, up to its input sources.
func inputsOf(p *pixpkgs.Package) string {
	text, _, _ := strings.Cut(p.Derivation().String(), `"x86_64-linux"`)
	return text + "…"
}

func TestPackagesPage(t *testing.T) {
	hello, err := greeting()
	checkErr(t, err)
	top, err := dynamic()
	checkErr(t, err)
	config, err := gnuConfig(t.Context(), "../testdata/corepkgs",
		"/nix/store/wvz9is43hj9pxx7hcscx5dw1nfikx2av-bootstrap-stage0-glibc-bootstrapFiles.drv",
		"/nix/store/bamwxswxacs3cjdcydv0z7bj22d7g2kc-config.guess-948ae97.drv",
		"/nix/store/nbsdqpfzh1jlpmh95s69b3iivfcvv3lh-config.sub-948ae97.drv")
	checkErr(t, err)
	if want := "/nix/store/ki9acp3kmqbbpmch02jfjwqr7x47aszb-gnu-config-2024-01-01.drv"; string(config.DrvPath()) != want {
		t.Errorf("%s instead of %s", config.DrvPath(), want)
	}
	check(t, "packages.md", map[string]string{
		"greeting":    source(t, "packages_test.go", "greeting"),
		"paths":       fmt.Sprintf("%s\n%s", hello.DrvPath(), hello),
		"dynamic":     source(t, "packages_test.go", "dynamic"),
		"inputs":      inputsOf(top),
		"gnu-config":  source(t, "packages_test.go", "gnuConfig"),
		"config-path": string(config.DrvPath()),
	})
}
