// Command gobuild adds the Go toolchain of this machine to a store, compiles a Go program with it in a sandbox, compiles it
// again, compares the bytes of both, and runs it. The store is in the directory of -root.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"pix"
	"pix/activity"
	"pix/builder/sandbox"
	"pix/derivation"
	"pix/nar"
	"pix/pixpkgs"
	"pix/store"
	"pix/storepath"
)

var root = flag.String("root", "", "the directory of the store (default a temporary one, which is deleted)")

func main() {
	sandbox.Main() // a program that builds is also the program that sets up sandboxes
	log.SetFlags(0)
	flag.Parse()
	if err := start(context.Background(), *root, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// start runs the example in a directory, or in a temporary one.
func start(ctx context.Context, root string, out io.Writer) error {
	if root == "" {
		dir, err := os.MkdirTemp("", "gobuild-")
		if err != nil {
			return err
		}
		defer removeStore(dir)
		root = dir
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	goroot, err := findToolchain(ctx)
	if err != nil {
		return err
	}
	return run(ctx, root, goroot, out)
}

// removeStore deletes a store, whose directories are read-only.
func removeStore(dir string) {
	filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(file, 0o700)
		}
		return err
	})
	os.RemoveAll(dir)
}

// findToolchain returns the directory of the Go toolchain. Its programs must not need shared libraries, which are not in the
// sandbox.
func findToolchain(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	goroot := strings.TrimSpace(string(text))
	return goroot, sandbox.CheckStatic(filepath.Join(goroot, "bin", "go"))
}

// needed are the programs of the toolchain that a build runs.
var needed = []string{"asm", "compile", "link"}

// isNeeded reports whether a file of the toolchain is needed to compile programs. The others would only take time: the
// toolchain's own source, tests, and documentation.
func isNeeded(file string, _ nar.Kind) bool {
	first, rest, _ := strings.Cut(file, "/")
	switch first {
	case "VERSION", "go.env", "bin", "pkg", "src":
	default:
		return false
	}
	tools := path.Join("tool", runtime.GOOS+"_"+runtime.GOARCH)
	switch {
	case first == "bin":
		return rest == "" || rest == "go"
	case first == "pkg" && strings.HasPrefix(rest, tools+"/"):
		return slices.Contains(needed, path.Base(rest))
	case first == "pkg":
		return rest == "" || rest == "tool" || rest == tools || strings.HasPrefix(rest, "include")
	case first == "src":
		return rest != "cmd" && path.Base(rest) != "testdata" && !strings.HasSuffix(rest, "_test.go")
	}
	return true
}

//go:embed hello
var source embed.FS

// declare returns a package with the compiled program.
func declare(ctx context.Context, goroot string) (*pixpkgs.Package, error) {
	toolchain, err := pixpkgs.Source(ctx, goroot, &pixpkgs.SourceOptions{Name: "go", Filter: isNeeded})
	if err != nil {
		return nil, err
	}
	hello, err := pixpkgs.SourceFS(ctx, source, "hello", nil)
	if err != nil {
		return nil, err
	}
	return pixpkgs.Derive(pixpkgs.Spec{
		Name:    "hello",
		System:  pixpkgs.HostSystem(),
		Builder: toolchain.Path("bin", "go"),
		Args:    []any{"build", "-trimpath", "-o", pixpkgs.Placeholder("out").Path("bin", "hello"), hello.Path("main.go")},
		Env: map[string]any{
			"GOROOT": toolchain, "GOCACHE": "/build/cache", "GOPATH": "/build/go", // /build is the build directory
			"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "", "CGO_ENABLED": "0", "GOTELEMETRY": "off",
			// Without -trimpath, the program would contain the path of the toolchain and so refer to it.
			"disallowedReferences": toolchain,
		},
	})
}

func run(ctx context.Context, root, goroot string, out io.Writer) error {
	hello, err := declare(ctx, goroot)
	if err != nil {
		return err
	}
	s, err := pix.Open(ctx, root, &pix.Options{Builds: &pix.Builds{}})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
		if line, ok := activity.Line(e); ok {
			log.Print(activity.Plain(line))
		}
	}))
	return store.InSession(ctx, s, func(s store.Store) error { // keeps the paths until the end
		if _, err := pixpkgs.Realize(ctx, s, hello); err != nil {
			return err
		}
		fmt.Fprintln(out, "compiled", hello)
		if err := check(ctx, s, hello); err != nil {
			return err
		}
		fmt.Fprintln(out, "compiled it again: the bytes are equal")
		return runProgram(ctx, s, hello, out)
	})
}

// check builds a package again, and returns an error if the outputs differ.
func check(ctx context.Context, s store.Store, p *pixpkgs.Package) error {
	built := derivation.Built{Drv: derivation.Opaque{Path: p.DrvPath()}, Outputs: derivation.AllOutputs()}
	return store.BuildPaths(ctx, s, []derivation.DerivedPath{built}, store.BuildCheck)
}

// runProgram runs the program, which is linked statically and so runs from where its file is.
func runProgram(ctx context.Context, s store.Store, p *pixpkgs.Package, out io.Writer) error {
	output, err := p.OutputPath("out")
	if err != nil {
		return err
	}
	files, ok := store.As[interface {
		ObjectFile(path storepath.Path) string
	}](s)
	if !ok {
		return errors.New("the store is not on this machine")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(files.ObjectFile(output), "bin", "hello"))
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	return cmd.Run()
}
