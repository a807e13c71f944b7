// Command hello declares two packages, and prints the path of the second one, which needs the first one. With -build it
// builds them with the Nix daemon of this machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"pix"
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
	flag.Parse()
	hello, err := declare()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(hello)
	if !*build {
		return
	}
	ctx := context.Background()
	store, err := pix.Open(ctx, "daemon", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if _, err := pixpkgs.Realize(ctx, store, hello); err != nil {
		log.Fatal(err)
	}
}
