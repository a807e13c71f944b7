// Command hello declares two packages, and prints the path of the second one, which needs the first one. With -build it
// builds them in the store of this machine, or in the store of the user. Without a Nix daemon, the builds need a statically linked
// shell: see pix doctor.
package main

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
)

// declare returns a package that greets the name in another package.
func declare() (*pixpkgs.Package, error) {
	who, err := pixpkgs.Derive(pixpkgs.Spec{
		Name:    "who",
		System:  "x86_64-linux",
		Builder: "/bin/sh",
		Args:    []any{"-c", "echo gopher > $out"},
	})
	if err != nil {
		return nil, err
	}
	return pixpkgs.Derive(pixpkgs.Spec{
		Name:    "hello",
		System:  "x86_64-linux",
		Builder: "/bin/sh",
		Args:    []any{"-c", `read name < $who; echo "$greeting, $name!" > $out`},
		Env:     map[string]any{"greeting": "hello", "who": who},
	})
}

var build = flag.Bool("build", false, "build the packages")

func main() {
	sandbox.Main() // a program that builds is also the program that sets up sandboxes
	flag.Parse()
	hello, err := declare()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(hello)
	if !*build {
		return
	}
	ctx := activity.WithHandler(context.Background(), activity.HandlerFunc(func(e activity.Event) {
		if line, ok := activity.Line(e); ok {
			log.Print(activity.Plain(line)) // the logs of the builders, and why one failed
		}
	}))
	opts, err := pix.FromEnvironment(os.Getenv)
	if err != nil {
		log.Fatal(err)
	}
	opts.Builds = &pix.Builds{}
	store, err := pix.Open(ctx, "auto", opts)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if _, err := pixpkgs.Realize(ctx, store, hello); err != nil {
		log.Fatal(err)
	}
}
