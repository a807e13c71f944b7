// Command foreigndiff compares two closures in a store that belongs to another root, such as the mounted disk of
// another machine or a copy of its database:
//
//	foreigndiff -state /mnt/nix/var/nix -objects /mnt/nix/store OLD NEW
//
// OLD and NEW are store paths, as they are on the other machine. The program writes nothing to the store.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"pix"
	"pix/closure"
	"pix/localstore"
)

var (
	state   = flag.String("state", "/mnt/nix/var/nix", "the directory that contains db/db.sqlite")
	objects = flag.String("objects", "/mnt/nix/store", "the directory of the store objects")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("usage: foreigndiff [-state DIR] [-objects DIR] OLD NEW")
	}
	if err := compare(context.Background(), *state, *objects, flag.Arg(0), flag.Arg(1), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// compare prints the packages whose paths differ between the closures of two paths.
func compare(ctx context.Context, state, objects, before, after string, out io.Writer) error {
	opts := &pix.Options{NoEnvironment: true, Local: &localstore.Options{StateDir: state, StoreDir: objects, ReadOnly: true}}
	s, err := pix.Open(ctx, "local", opts)
	if err != nil {
		return err
	}
	defer s.Close()
	var closures [2]*closure.Closure
	for i, arg := range []string{before, after} {
		root, err := s.Dir().Parse(arg)
		if err != nil {
			return err
		}
		if closures[i], err = closure.Load(ctx, s, root); err != nil {
			return err
		}
	}
	d := closure.Compare(closures[0], closures[1])
	for _, p := range d.Packages {
		kind := "changed"
		if p.IsRebuild() {
			kind = "rebuilt"
		}
		fmt.Fprintf(out, "%s %s: %s -> %s, %+d bytes\n", kind, p.Name, versions(p.Before), versions(p.After), p.SizeDelta)
	}
	_, err = fmt.Fprintf(out, "%d -> %d bytes\n", d.SizeBefore, d.SizeAfter)
	return err
}

// versions returns a list of versions for the output.
func versions(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
