// Command tour has four short programs on pix, one file each:
//
//	tour sizes PATH…            prints the size of each path in a closure, and of its closure
//	tour rebuild DRV NAME VALUE sets a variable of a derivation, builds the result and prints its outputs
//	tour add PATH               adds a file or a directory to the store
//	tour diff OLD NEW           compares the closures of two systems by package
//
// -store names the store, by default the daemon of this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"os"

	"pix"
	"pix/store"
	"pix/storepath"
)

var uri = flag.String("store", "daemon", "the store: daemon, auto, unix://SOCKET, ssh-ng://HOST, /DIR or the URL of a cache")

func main() {
	log.SetFlags(0)
	flag.Parse()
	if err := run(context.Background(), *uri, flag.Args(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, uri string, args []string, out io.Writer) error {
	s, err := pix.Open(ctx, uri, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	switch {
	case len(args) > 1 && args[0] == "sizes":
		return sizes(ctx, s, args[1:], out)
	case len(args) == 4 && args[0] == "rebuild":
		return rebuild(ctx, s, args[1], args[2], args[3], out)
	case len(args) == 2 && args[0] == "add":
		return add(ctx, s, args[1], out)
	case len(args) == 3 && args[0] == "diff":
		return diff(ctx, s, args[1], args[2], out)
	}
	return errors.New("usage: tour sizes PATH… | rebuild DRV NAME VALUE | add PATH | diff OLD NEW")
}

// parse returns the store paths of arguments.
func parse(s store.Store, args []string) (paths []storepath.Path, err error) {
	for _, arg := range args {
		path, err := s.Dir().Parse(arg)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}
