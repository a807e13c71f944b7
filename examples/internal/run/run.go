// Package run is the common main function of the examples: it prints the paths of packages, and builds them with
// -build.
package run

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"

	"pix"
	"pix/activity"
	"pix/builder/sandbox"
	"pix/pixpkgs"
	"pix/storepath"
)

var (
	build = flag.Bool("build", false, "build the packages with the store of -store")
	uri   = flag.String("store", "auto", "the store that builds: auto, /DIR, unix://SOCKET or ssh-ng://HOST")
)

// Main is the main function of an example. declare returns its packages.
func Main(declare func(context.Context) ([]*pixpkgs.Package, error)) {
	sandbox.Main() // a program that builds is also the program that sets up sandboxes
	log.SetFlags(0)
	flag.Parse()
	ctx := context.Background()
	packages, err := declare(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range packages {
		fmt.Println(p)
	}
	if !*build {
		return
	}
	if err := realize(ctx, *uri, packages); err != nil {
		log.Fatal(err)
	}
}

// realize builds the packages and prints the lines of their logs.
func realize(ctx context.Context, uri string, packages []*pixpkgs.Package) error {
	opts, err := pix.FromEnvironment(os.Getenv)
	if err != nil {
		return err
	}
	opts.StoreDir, opts.Builds = storepath.DefaultDir, &pix.Builds{}
	store, err := pix.Open(ctx, uri, opts)
	if err != nil {
		return err
	}
	defer store.Close()
	ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
		if line, ok := activity.Line(e); ok {
			log.Print(activity.Plain(line))
		}
	}))
	_, err = pixpkgs.Realize(ctx, store, packages...)
	return err
}
