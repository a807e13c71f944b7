// Package pixpkgs declares packages in Go: what to build, with what, and on top of
// which other packages. It gives the paths that Nix would give, to the byte, without a
// Nix language and without a daemon; [Realize] then builds on any store that builds.
//
// # What a package is
//
// A package is one build step and what comes of it: a program (the builder) that is run
// with arguments and environment variables, and writes files to a path that is known
// before it runs. [Derive] makes one from a [Spec]:
//
//	hello, err := pixpkgs.Derive(pixpkgs.Spec{
//		Name:    "hello",
//		System:  "x86_64-linux",
//		Builder: bash.Path("bin/bash"),
//		Args:    []any{"-c", "echo hello > $out"},
//	})
//
// The path is made of a hash of all of this, and of all that went into bash. So two
// packages that differ in anything lie beside each other, and the same package is never
// built twice. A package prints as the path of its default output:
//
//	fmt.Println(hello) // /nix/store/…-hello
//
// # Dependencies cannot be forgotten
//
// A build sees nothing but what was declared. One package uses another by mentioning its
// path, so the mention is the declaration: a value of a Spec may be a [*Package], one of
// its outputs ([Package.Out]), a file in one ([Package.Path]), or a text around such,
// made by [Sprintf] and [Join]. All these remember what they mention.
//
// A plain Go string remembers nothing. [fmt.Sprintf] may be used as well, but then the
// package must stand in [Spec.Deps]; if it stands nowhere, Derive finds the path in the
// string and returns an error that names both packages.
//
// # Sources
//
// Files that no build makes come into the store by [Text], [Source] and [SourceFS].
// They are values as packages are. [FetchURL] is a package: a download whose hash is
// known before.
//
// # Many packages
//
// A set of packages that know each other is a Go struct with a [*Lazy] for each, and a
// function that fills it; [Fix] ties the knot. An overlay is a function from such a set
// to a changed one, in which everything above a changed package is changed as well.
// [Package.Override] and [Package.Replace] do the same to packages that are there
// already, among them those that [FromDerivations] makes of files that Nix wrote.
//
// # Reading order
//
// What is declared: spec.go, string.go, coerce.go, attrs.go; what can be wrong with it:
// errors.go. How it becomes a derivation: normal.go, mention.go, inputs.go, outputs.go,
// derive.go, package.go. Sources: object.go, text.go, source.go, fetchurl.go. Sets: lazy.go,
// fix.go, call.go. Changes: override.go, fromderivations.go. Building: register.go,
// realize.go. The folder examples has programs to begin with.
//
// Source of the rules: derivationStrictInternal and coerceToString in src/libexpr of Nix
// 2.34, and "Derivations" in its manual.
package pixpkgs
