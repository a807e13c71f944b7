// Command packageset declares a set of packages that use each other, and an overlay that changes one of them. Exactly the
// packages that are built with it change, too.
package main

import (
	"context"

	"pix/examples/internal/run"
	"pix/pixpkgs"
)

// Tools is a set of packages.
type Tools struct {
	Phrases *pixpkgs.Lazy // a library of shell functions
	Greet   *pixpkgs.Lazy // a program that uses it
	Manual  *pixpkgs.Lazy // a package that does not use it
	Version string
}

// tools declares the packages. They use each other through final, which is the set after all overlays.
func tools(final *Tools) Tools {
	return Tools{
		Version: "1.0",
		Phrases: pixpkgs.Define(func() pixpkgs.Spec {
			return script("phrases", `echo 'greeting="good day"' > $out`)
		}),
		Greet:  pixpkgs.Call(final, greet),
		Manual: pixpkgs.Define(func() pixpkgs.Spec { return script("manual", `echo "greet: greets" > $out`) }),
	}
}

// greet declares the program. Its parameter names the packages that it needs, so any set that has these can call it, and it
// could be in a Go package of its own.
func greet(in struct {
	Phrases *pixpkgs.Lazy
	Version string
}) pixpkgs.Spec {
	s := script("greet-"+in.Version, `. $phrases; echo "$greeting, gopher" > $out`)
	s.Env = map[string]any{"phrases": in.Phrases}
	return s
}

// script returns what all packages of this set have in common.
func script(name, text string) pixpkgs.Spec {
	return pixpkgs.Spec{Name: name, System: "x86_64-linux", Builder: "/bin/sh", Args: []any{"-e", "-c", text}}
}

// loud is an overlay that wraps the library of the set below it.
func loud(final, prev *Tools) Tools {
	next := *prev
	next.Phrases = pixpkgs.Define(func() pixpkgs.Spec {
		s := script("loud-phrases", `. $quiet; echo "greeting=\"$greeting!!\"" > $out`)
		s.Env = map[string]any{"quiet": prev.Phrases}
		return s
	})
	return next
}

// declare returns the program and the manual, first without the overlay and then with it.
func declare(context.Context) (packages []*pixpkgs.Package, err error) {
	quiet, err := pixpkgs.Fix(tools)
	if err != nil {
		return nil, err
	}
	noisy, err := pixpkgs.Fix(tools, loud)
	if err != nil {
		return nil, err
	}
	for _, lazy := range []*pixpkgs.Lazy{quiet.Greet, quiet.Manual, noisy.Greet, noisy.Manual} {
		p, err := lazy.Package()
		if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
	return packages, nil
}

func main() { run.Main(declare) }
