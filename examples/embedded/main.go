// Command embedded works without Nix. It verifies the derivations of a real package set, adds them to a store in a
// directory, prints their closure, verifies the store, and prints which root keeps the derivations from being
// collected.
//
// The store is the one that the command pix uses on a machine without Nix, in the data directory of the user, or
// the directory of -root. Nix can open it, too.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"pix"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

var (
	root   = flag.String("root", "", "the directory of the store (default $XDG_DATA_HOME/pix)")
	source = flag.String("source", "testdata/corepkgs", "a directory with derivations")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	opts, err := pix.FromEnvironment(os.Getenv)
	if err != nil {
		log.Fatal(err)
	}
	if *root == "" && opts.DataDir == "" {
		log.Fatal("neither HOME nor XDG_DATA_HOME is set: name the directory of the store with -root")
	}
	// The command pix uses the same directory.
	if err := run(context.Background(), cmp.Or(*root, filepath.Join(opts.DataDir, "pix")), *source, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, root, source string, out io.Writer) error {
	if err := verifyDerivations(ctx, source, out); err != nil {
		return err
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	s, err := pix.Open(ctx, root, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	var list storepath.Path
	// The session keeps added paths from being collected until it ends. Then the root does.
	err = store.InSession(ctx, s, func(s store.Store) error {
		if list, err = add(ctx, s, source); err != nil {
			return err
		}
		_, err = store.AddRoot(ctx, s, filepath.Join(root, "derivations"), list)
		return err
	})
	if err != nil {
		return err
	}
	return report(ctx, s, list, out)
}

// verifyDerivations checks that the paths in the derivations follow from their contents.
func verifyDerivations(ctx context.Context, source string, out io.Writer) error {
	dir := derivation.Directory(source)
	files, err := dir.Files()
	if err != nil {
		return err
	}
	results, err := derivation.Verify(ctx, dir, files, nil)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Status != derivation.Verified {
			return fmt.Errorf("%s is invalid: %v", r.File, r.Problems)
		}
	}
	fmt.Fprintf(out, "verified %d derivations\n", len(results))
	return nil
}

// add adds a directory, and a file that lists its entries and so refers to it. It returns the path of the file.
func add(ctx context.Context, s store.Store, source string) (storepath.Path, error) {
	info, err := store.AddPath(ctx, s, "derivations", source, nil, nil)
	if err != nil {
		return "", err
	}
	var list strings.Builder
	names, err := derivation.Directory(source).Files()
	for _, name := range names {
		fmt.Fprintf(&list, "%s/%s\n", info.Path, name)
	}
	if err != nil {
		return "", err
	}
	return store.AddText(ctx, s, "list", list.String(), []storepath.Path{info.Path})
}

// report prints the closure of a path, verifies the store, and prints what keeps the closure alive.
func report(ctx context.Context, s store.Store, path storepath.Path, out io.Writer) error {
	var last storepath.Path
	for info, err := range store.Closure(ctx, s, path) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "added %s, %d bytes\n", info.Path, info.NARSize)
		if info.Path != path {
			last = info.Path
		}
	}
	damaged, err := store.Verify(ctx, s, true, false)
	if err != nil {
		return err
	}
	if damaged {
		return errors.New("the store is damaged")
	}
	fmt.Fprintln(out, "verified the contents of the store")
	why, err := store.ExplainLiveness(ctx, s, last)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is alive: %s refers to it, and the root %q points there\n", last.Name(), why.Chain[0].Path.Name(), filepath.Base(why.Root.Link))
	return nil
}
