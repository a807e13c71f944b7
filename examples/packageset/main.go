// Command packageset declares a set of packages that know each other, and an overlay that
// changes one of them: everything that is built with it changes too, and nothing else.
package main

import (
	"context"

	"pix/examples/internal/run"
	"pix/pixpkgs"
)

// Tools is a set of packages.
type Tools struct {
	Phrases *pixpkgs.Lazy // a library: functions of the shell
	Greet   *pixpkgs.Lazy // a program that uses it
	Manual  *pixpkgs.Lazy // something that does not
	Version string
}

// tools declares the packages. They use each other through final, which is the set as it
// is when all overlays are applied.
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

// greet declares the program. It could stand in a package of its own, for it says what it
// needs, and any set that has these can call it.
func greet(in struct {
	Phrases *pixpkgs.Lazy
	Version string
}) pixpkgs.Spec {
	s := script("greet-"+in.Version, `. $phrases; echo "$greeting, gopher" > $out`)
	s.Env = map[string]any{"phrases": in.Phrases}
	return s
}

// script is a function of our own: what all packages of this set have in common.
func script(name, text string) pixpkgs.Spec {
	return pixpkgs.Spec{Name: name, System: "x86_64-linux", Builder: "/bin/sh", Args: []any{"-e", "-c", text}}
}

// loud is an overlay. It wraps the library that lies below it.
func loud(final, prev *Tools) Tools {
	next := *prev
	next.Phrases = pixpkgs.Define(func() pixpkgs.Spec {
		s := script("loud-phrases", `. $quiet; echo "greeting=\"$greeting!!\"" > $out`)
		s.Env = map[string]any{"quiet": prev.Phrases}
		return s
	})
	return next
}

// declare returns the program and the manual, without the overlay and with it.
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
