package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"pix/localstore"
	"pix/pixpkgs"
)

// packages derives n packages, each with ten dependencies and a realistic number of variables.
func packages(n int) ([]*pixpkgs.Package, error) {
	all := make([]*pixpkgs.Package, 0, n)
	for i := range n {
		s := pixpkgs.Spec{
			Name: fmt.Sprintf("package-%d-1.%d", i, i%17), System: "x86_64-linux", Builder: "/bin/sh",
			Args: []any{"-e", "/build.sh"},
			Env: map[string]any{"pname": "package", "version": i, "doCheck": true, "phases": []string{"unpackPhase", "buildPhase"},
				"script": "make install prefix=$out # and /some/other/path"},
		}
		if i >= 10 {
			s.Builder = all[0].Path("bin/bash")
			s.Args[1] = pixpkgs.Sprintf("%s/build.sh", all[1])
			var inputs []any
			for k := 1; k <= 8; k++ {
				inputs = append(inputs, all[i*k/9])
			}
			s.Env["buildInputs"] = inputs
			s.Outputs = []string{"out", "dev"}
		}
		p, err := pixpkgs.Derive(s)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// packagesNix is the same as an expression of Nix, for nix-instantiate.
const packagesNix = `
let
  all = builtins.genList make %d;
  at = builtins.elemAt all;
  make = i: derivation ({
    name = "package-${toString i}-1.${toString (i - i / 17 * 17)}";
    system = "x86_64-linux";
    pname = "package"; version = i; doCheck = true; phases = [ "unpackPhase" "buildPhase" ];
    script = "make install prefix=$out # and /some/other/path";
  } // (if i < 10 then { builder = "/bin/sh"; args = [ "-e" "/build.sh" ]; } else {
    builder = "${at 0}/bin/bash"; args = [ "-e" "${at 1}/build.sh" ];
    buildInputs = map (k: at (i * k / 9)) [ 1 2 3 4 5 6 7 8 ];
    outputs = [ "out" "dev" ];
  }));
in all
`

// derivePackages derives packages, and prints the paths of their derivations as nix-instantiate does. With a directory,
// it writes the derivations there instead.
func derivePackages(args []string) (time.Duration, error) {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return 0, err
	}
	start := time.Now()
	all, err := packages(n)
	if err != nil {
		return 0, err
	}
	if len(args) == 1 {
		err := printPaths(all)
		return time.Since(start), err
	}
	for _, p := range all {
		if err := os.WriteFile(filepath.Join(args[1], p.DrvPath().Base()), p.Derivation().AppendATerm(nil), 0o644); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// instantiatePackages derives packages, adds their derivations to a new store below a directory, and prints their paths.
func instantiatePackages(args []string) (time.Duration, error) {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return 0, err
	}
	ctx, start := context.Background(), time.Now()
	all, err := packages(n)
	if err != nil {
		return 0, err
	}
	s, err := localstore.Open(ctx, &localstore.Options{Root: args[1]})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := pixpkgs.Instantiate(ctx, s, all...); err != nil {
		return 0, err
	}
	err = printPaths(all)
	return time.Since(start), err
}

// printPaths prints the paths of the derivations.
func printPaths(all []*pixpkgs.Package) error {
	w := bufio.NewWriter(os.Stdout)
	for _, p := range all {
		fmt.Fprintln(w, p.DrvPath())
	}
	return w.Flush()
}

// derivationDir returns a new directory with n derivations.
func derivationDir(t *scope, n int) string {
	dir := t.TempDir()
	output(t, taskCommand("pixpkgs", strconv.Itoa(n), dir))
	return dir
}

func packagesRow(l *lab, t *scope) work {
	n := l.size(10_000, 30_000)
	w := l.sharedWorld()
	t.check(os.WriteFile(w.HostPath("/tmp/packages.nix"), fmt.Appendf(nil, packagesNix, n), 0o644))
	instantiate := func() *exec.Cmd { return w.runNix("nix-instantiate", "--readonly-mode", "/tmp/packages.nix") }
	checkSamePackages(t, w)
	return work{count(n) + " packages", []contender{
		task("pix", "pixpkgs", strconv.Itoa(n)),
		program("nix-instantiate", func(int) *exec.Cmd { return instantiate() }),
	}}
}

// instantiateRow writes the derivations into a new store each time.
func instantiateRow(l *lab, t *scope) work {
	n := l.size(2_000, 30_000)
	w := l.sharedWorld()
	t.check(os.WriteFile(w.HostPath("/tmp/packages.nix"), fmt.Appendf(nil, packagesNix, n), 0o644))
	checkSamePackages(t, w)
	return work{count(n) + " packages", []contender{
		w.writer("pix", "packages", func(dir string) *exec.Cmd {
			return taskCommand("instantiate", strconv.Itoa(n), w.HostPath(dir))
		}),
		w.writer("nix-instantiate", "packages", func(dir string) *exec.Cmd {
			return w.runNix("nix-instantiate", "--store", dir, "/tmp/packages.nix")
		}),
	}}
}

// checkSamePackages checks that both programs derive the same packages, or the work would differ.
func checkSamePackages(t *scope, w *world) {
	const n = 100
	all, err := packages(n)
	t.check(err)
	t.check(os.WriteFile(w.HostPath("/tmp/few.nix"), fmt.Appendf(nil, packagesNix, n), 0o644))
	nix := lines(output(t, w.runNix("nix-instantiate", "--readonly-mode", "/tmp/few.nix")))
	for i, p := range all {
		if i >= len(nix) || string(p.DrvPath()) != nix[i] {
			t.Fatalf("package %d of pix is %s, which nix-instantiate does not derive", i, p.DrvPath())
		}
	}
}

func drvVerifyRow(l *lab, t *scope) work {
	n := l.size(10_000, 72_000)
	dir := derivationDir(t, n)
	return work{count(n) + " derivations", []contender{
		program("pix", func(int) *exec.Cmd {
			return exec.Command(filepath.Join(l.bin, "pix"), "--progress", "none", "drv-verify", dir)
		}),
	}}
}
