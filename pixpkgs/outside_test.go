package pixpkgs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pix/internal/realnix"
)

// outside is a program in another module. It builds two packages; one depends on the other.
const outside = `package main

import (
	"context"
	"fmt"
	"os"

	"pix"
	"pix/pixpkgs"
)

func main() {
	who := derive(pixpkgs.Spec{Name: "who", Args: []any{"-c", "echo gopher > $out"}})
	hello := derive(pixpkgs.Spec{Name: "hello", Args: []any{"-c", pixpkgs.Sprintf("read who < %s; echo hello, $who > $out", who)}})
	ctx := context.Background()
	store, err := pix.Open(ctx, "unix://"+os.Args[1], nil)
	check(err)
	built, err := pixpkgs.Realize(ctx, store, hello)
	check(err)
	fmt.Println(built[0].Outputs["out"])
}

func derive(s pixpkgs.Spec) *pixpkgs.Package {
	s.System, s.Builder = pixpkgs.HostSystem(), "/bin/sh"
	p, err := pixpkgs.Derive(s)
	check(err)
	return p
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
`

// A module outside of the repository can build packages with the instructions in the README.
func TestOutsideModule(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles a program")
	}
	d := realnix.Start(t, realnix.Get(t, "bookworm"), nil)
	dir := t.TempDir()
	repository, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(outside), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
		}
		return strings.TrimSpace(stdout.String())
	}
	run("mod", "init", "example.org/outside")
	run("mod", "edit", "-require", "pix@v0.0.0", "-replace", "pix="+repository)
	run("mod", "tidy")
	path := run("run", ".", d.Socket)
	if text, err := os.ReadFile(d.HostPath(path)); err != nil || string(text) != "hello, gopher\n" {
		t.Errorf("%s is %q, %v", path, text, err)
	}
}
