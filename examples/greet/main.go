// Command greet needs Go and nothing else. It declares two packages, builds them in sandboxes, runs the program in one of
// them, and prints why each path stays in the store.
//
// The builder of both packages is a Go program, which greet compiles and adds to the store: a sandbox has no programs
// of the machine. The store is the one that the command pix uses on a machine without Nix, in the data directory of
// the user, or the directory of -root.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"pix"
	"pix/activity"
	"pix/builder/sandbox"
	"pix/localstore"
	"pix/pixpkgs"
	"pix/store"
	"pix/storepath"
)

var root = flag.String("root", "", "the directory of the store (default $XDG_DATA_HOME/pix)")

func main() {
	sandbox.Main() // a program that builds is also the program that sets up sandboxes
	log.SetFlags(0)
	flag.Parse()
	opts, err := pix.FromEnvironment(os.Getenv)
	if err != nil {
		log.Fatal(err)
	}
	if *root == "" && opts.DataDir == "" {
		log.Fatal("neither HOME nor XDG_DATA_HOME is set: name the directory of the store with -root")
	}
	if err := run(context.Background(), cmp.Or(*root, filepath.Join(opts.DataDir, "pix")), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, root string, out io.Writer) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "greet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // Realize reads the tool again
	p, err := declare(ctx, dir)
	if err != nil {
		return err
	}
	s, err := pix.Open(ctx, root, &pix.Options{Builds: &pix.Builds{}})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := build(ctx, s, filepath.Join(root, "hello"), p.hello); err != nil {
		return err
	}
	fmt.Fprintf(out, "built %s\n", p.hello)
	if err := start(ctx, s, p.hello, out); err != nil {
		return err
	}
	return explain(ctx, s, out, p.paths()...)
}

// packages are what the example declares.
type packages struct {
	tool       *pixpkgs.Object
	who, hello *pixpkgs.Package
}

func (p *packages) paths() []storepath.Path {
	var paths []storepath.Path
	for _, pkg := range []*pixpkgs.Package{p.hello, p.who} {
		if path, err := pkg.OutputPath("out"); err == nil { // unknown only for other kinds of packages
			paths = append(paths, path)
		}
	}
	return append(paths, p.tool.StorePath())
}

// declare compiles the tool into a directory, and declares a package with a name and a program that greets it.
func declare(ctx context.Context, dir string) (*packages, error) {
	file, err := compile(ctx, dir)
	if err != nil {
		return nil, err
	}
	var p packages
	if p.tool, err = pixpkgs.Source(ctx, file, nil); err != nil {
		return nil, err
	}
	p.who, err = pixpkgs.Derive(pixpkgs.Spec{
		Name: "who", System: pixpkgs.HostSystem(), Builder: p.tool,
		Args: []any{"write", "gopher"},
	})
	if err != nil {
		return nil, err
	}
	p.hello, err = pixpkgs.Derive(pixpkgs.Spec{
		Name: "hello", System: pixpkgs.HostSystem(), Builder: p.tool,
		Args: []any{"greet", p.who}, // so who is built first
	})
	return &p, err
}

//go:embed tool/main.go
var source []byte

// compile compiles the tool. The program is always the same with one version of Go.
func compile(ctx context.Context, dir string) (file string, err error) {
	if err := os.WriteFile(filepath.Join(dir, "main.go"), source, 0o666); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", "tool", "main.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling the tool: %w\n%s", err, text)
	}
	return filepath.Join(dir, "tool"), nil
}

// build builds a package, and makes a root: a symlink to the output, which the store knows.
func build(ctx context.Context, s store.Store, link string, p *pixpkgs.Package) error {
	ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
		if line, ok := activity.Line(e); ok {
			log.Print(activity.Plain(line)) // what the builders print
		}
	}))
	// The session keeps the output from being collected until it ends. Then the root does.
	return store.InSession(ctx, s, func(s store.Store) error {
		built, err := pixpkgs.Realize(ctx, s, p)
		if err != nil {
			return err
		}
		_, err = store.AddRoot(ctx, s, link, built[0].Outputs["out"])
		return err
	})
}

// start runs the program of the package, which sees the files of the store below /nix/store.
func start(ctx context.Context, s store.Store, p *pixpkgs.Package, out io.Writer) error {
	local, ok := store.As[*localstore.Store](s)
	if !ok {
		return errors.New("the store is not on this machine")
	}
	path, err := p.OutputPath("out")
	if err != nil {
		return err
	}
	view := &sandbox.View{Dirs: map[string]string{string(s.Dir()): filepath.Dir(local.ObjectFile(path))}}
	cmd, err := view.Command(string(path) + "/bin/hello")
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	return cmd.Run()
}

// explain prints why the paths stay in the store.
func explain(ctx context.Context, s store.Store, out io.Writer, paths ...storepath.Path) error {
	for _, path := range paths {
		why, err := store.ExplainLiveness(ctx, s, path)
		switch {
		case err != nil:
			return err
		case why == nil:
			fmt.Fprintf(out, "%s may be deleted: nothing needs it\n", path.Name())
		case len(why.Chain) == 1:
			fmt.Fprintf(out, "%s stays: the root %q points to it\n", path.Name(), filepath.Base(why.Root.Link))
		default:
			fmt.Fprintf(out, "%s stays: %s refers to it\n", path.Name(), why.Chain[len(why.Chain)-2].Path.Name())
		}
	}
	return nil
}
