// Package pixpkgs declares packages in Go: their builders, their dependencies, and sets of
// packages. It computes exactly the paths that Nix would compute, without evaluating the Nix
// language and without a daemon. [Realize] then builds the packages on any store that can build.
//
// # What a package is
//
// A package is one build step and its result: a program, the builder, runs with arguments and
// environment variables, and writes files to a path that is known before it runs. [Derive] creates
// one from a [Spec]:
//
//	hello, err := pixpkgs.Derive(pixpkgs.Spec{
//		Name:    "hello",
//		System:  "x86_64-linux",
//		Builder: bash.Path("bin/bash"),
//		Args:    []any{"-c", "echo hello > $out"},
//	})
//
// The path contains a hash of all these values, and of everything that bash was built from. So
// packages that differ in anything have different paths, and the same package is never built twice.
// A package prints as the path of its default output:
//
//	fmt.Println(hello) // /nix/store/…-hello
//
// # Dependencies cannot be forgotten
//
// A build can see only its declared dependencies. A package uses another one by mentioning its path,
// so the mention is the declaration. A value in a Spec may be a [*Package], one of its outputs
// ([Package.Out]), a file in one ([Package.Path]), or a text that [Sprintf] or [Join] builds from
// these. All of them remember what they mention.
//
// A plain Go string remembers nothing. [fmt.Sprintf] is allowed, but then the package must be in
// [Spec.Deps]. Otherwise Derive finds the path in the string and returns an error that names both
// packages.
//
// # Sources
//
// [Text], [Source] and [SourceFS] add files to the store without a build. Their results are values
// like packages. [FetchURL] returns a package: a download whose hash is known in advance.
//
// # Many packages
//
// A set of packages that depend on each other is a Go struct with a [*Lazy] for each, and a function
// that fills it; see [Fix]. An overlay is a function from such a set to a changed one, in which every
// package that depends on a changed package changes too. [Package.Override] and [Package.Replace] do
// the same for existing packages, including packages that [FromDerivations] creates from files that
// Nix wrote.
//
// # Packages of nixpkgs
//
// A [Stdenv] declares packages as stdenv.mkDerivation of nixpkgs does. [StdenvOf] takes it from a package
// that nixpkgs created, and its dependencies are such packages too:
//
//	closure, err := derivation.LoadClosure(ctx, derivation.Directory("/nix/store"), roots, nil)
//	packages, err := pixpkgs.FromDerivations(closure)
//	stdenv, err := pixpkgs.StdenvOf(packages[bzip2])
//	attr, err := stdenv.MkDerivation(pixpkgs.StdenvSpec{
//		Pname: "attr", Version: "2.5.2", Src: src,
//		Outputs:           []string{"bin", "dev", "out"},
//		NativeBuildInputs: []any{packages[gettext]},
//	})
//
// The package has the very path that nixpkgs computes for the same declaration. buildPythonPackage,
// buildPerlPackage and so on are functions that complete a [StdenvSpec].
//
// # Reading order
//
// Declarations: spec.go, string.go, coerce.go, treeof.go, structtree.go, attrs.go; their errors:
// errors.go. Derivations: normal.go, mention.go, inputs.go, outputs.go, derive.go, package.go,
// dynamic.go. Sources: object.go, source.go, fetchurl.go. Sets: lazy.go, fix.go. Changes: override.go,
// fromderivations.go. Packages of nixpkgs: stdenv.go, stdenvspec.go, mkderivation.go, stdenvchecks.go.
// Stores and builds: register.go, realize.go. The directory examples has complete programs.
//
// Rules: derivationStrictInternal and coerceToString in src/libexpr of Nix 2.34, and "Derivations" in
// its manual.
package pixpkgs
