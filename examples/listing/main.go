// Command listing prints the files in store objects, with their sizes, from a store or from a binary cache:
//
//	listing -store https://cache.example.org /nix/store/…-hello-2.12.1
//
// If the cache has a listing of the object, or the store is a directory, no contents are read.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"pix"
	"pix/nar"
	"pix/store"
)

var uri = flag.String("store", "auto", "the store: auto, daemon, ssh-ng://HOST, /DIR, file://DIR or the URL of a cache")

func main() {
	log.SetFlags(0)
	flag.Parse()
	ctx := context.Background()
	s, err := pix.Open(ctx, *uri, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for _, arg := range flag.Args() {
		if err := list(ctx, s, arg, os.Stdout); err != nil {
			log.Fatal(err)
		}
	}
}

// list prints the node at an argument such as /nix/store/…-hello/bin, and everything in it.
func list(ctx context.Context, s store.Store, arg string, out io.Writer) error {
	path, inside, err := s.Dir().ParseInside(arg)
	if err != nil {
		return err
	}
	root, err := store.Listing(ctx, s, path)
	if err != nil {
		return err
	}
	node := root.Lookup(inside)
	if node == nil {
		return fmt.Errorf("%s has no file %q", path, inside)
	}
	for name, l := range node.All() {
		if name == "" {
			name = "."
		}
		switch l.Kind {
		case nar.Regular:
			_, err = fmt.Fprintf(out, "%10d %s\n", l.Size, name)
		case nar.Symlink:
			_, err = fmt.Fprintf(out, "%10s %s -> %s\n", "", name, l.Target)
		case nar.Directory:
			_, err = fmt.Fprintf(out, "%10s %s/\n", "", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
