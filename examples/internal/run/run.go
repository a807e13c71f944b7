// Package run is what the examples have in common: they print the paths of their packages,
// and build them if they are told to.
package run

import (
	"context"
	"flag"
	"fmt"
	"log"

	"pix"
	"pix/activity"
	"pix/pixpkgs"
	"pix/storepath"
)

var (
	build = flag.Bool("build", false, "build the packages on the store that -store names")
	uri   = flag.String("store", "daemon", "where to build: daemon, unix://SOCKET, ssh-ng://HOST")
)

// Main is the main function of an example, whose packages declare returns.
func Main(declare func(context.Context) ([]*pixpkgs.Package, error)) {
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

// realize builds the packages and shows the lines of the build log.
func realize(ctx context.Context, uri string, packages []*pixpkgs.Package) error {
	store, err := pix.Open(ctx, uri, &pix.Options{StoreDir: storepath.DefaultDir})
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
