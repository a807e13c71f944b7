package pixpkgs

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A Stdenv is a standard environment of nixpkgs: a package with a shell, a compiler and the tools that
// most builds need, and the rules by which stdenv.mkDerivation of its version of nixpkgs creates
// derivations. [StdenvOf] returns the stdenv of a package that Nix declared. [Stdenv.MkDerivation]
// declares packages, and [Stdenv.Define] declares packages of a set.
//
// The packages run on the system that builds them: a Stdenv does not cross-compile.
type Stdenv struct {
	// Package is the stdenv, a [*Package] or a [*Lazy].
	Package any
	// System is the [Spec.System] of the packages.
	System string
	// Shell is the builder, such as bash.Path("bin/bash").
	Shell any
	// Scripts are the arguments before the build script. In newer versions of nixpkgs this is
	// source-stdenv.sh.
	Scripts []any
	// Builder is the script of packages that have none of their own, default-builder.sh.
	Builder any
	// DebugInfoHook is the hook for [StdenvSpec.SeparateDebugInfo], separate-debug-info.sh. StdenvOf
	// does not find it.
	DebugInfoHook any
	// HardeningFlags are the hardening flags that the compiler uses by default.
	HardeningFlags []string
	// Platform is the platform of System for configure, such as "x86_64-unknown-linux-gnu". "" means
	// the usual one.
	Platform string

	// UserHook, StrictDeps, StructuredAttrs, EnableParallelBuilding, ContentAddressed and
	// ConfigurePlatforms are the defaults that the configuration of nixpkgs sets:
	// stdenv.userHook, strictDepsByDefault, structuredAttrsByDefault and so on.
	UserHook               any
	StrictDeps             bool
	StructuredAttrs        bool
	EnableParallelBuilding bool
	ContentAddressed       bool
	ConfigurePlatforms     []string

	// Omitted are attributes that this version of nixpkgs does not set if they are empty or false. Other
	// versions always set them, for example "mesonFlags".
	Omitted []string
}

// StdenvOf returns the stdenv of a package that mkDerivation of nixpkgs declared, for example one from
// [FromDerivations]. The package must not have a build script of its own. Defaults from the configuration of
// nixpkgs are not set, because a package does not show them.
//
// The error is an [*Error] that says why the package does not show its stdenv.
func StdenvOf(p *Package) (*Stdenv, error) {
	n := p.normal
	stdenv, _ := n.attribute("stdenv").(String)
	switch {
	case len(stdenv.parts) != 1 || stdenv.parts[0].kind != outputPart:
		return nil, n.failf("", "it was not built with a stdenv")
	case len(n.args) < 2 || n.args[0].String() != "-e":
		return nil, n.failf("", "its arguments are not those of a stdenv")
	}
	last := len(n.args) - 1
	if base := path.Base(n.args[last].String()); !strings.HasSuffix(base, "-default-builder.sh") {
		return nil, n.failf("", "its default build script is unknown, because it has its own, %s: use another package", base)
	}
	e := &Stdenv{
		Package: stdenv.parts[0].pkg, System: n.spec.System, Shell: n.builder, Builder: n.args[last],
		HardeningFlags: hardeningFlagsOf(stdenv.parts[0].pkg),
	}
	for _, script := range n.args[1:last] {
		e.Scripts = append(e.Scripts, script)
	}
	for _, name := range usuallySet {
		if !n.hasAttribute(name) && (n.attrs == nil || name != "__structuredAttrs") {
			e.Omitted = append(e.Omitted, name)
		}
	}
	return e, nil
}

// usuallySet are the attributes that mkDerivation sets even if they are empty or false.
var usuallySet = slices.Concat([]string{
	"__structuredAttrs", "strictDeps", "doCheck", "doInstallCheck", "configureFlags", "cmakeFlags", "mesonFlags", "patches",
}, dependencyLists)

// hardeningFlagsOf returns the default flags of the compiler of a stdenv, which are in a variable of the
// compiler's wrapper.
func hardeningFlagsOf(stdenv *Package) []string {
	for _, dep := range stdenv.deps {
		if flags, ok := dep.normal.attribute("default_hardening_flags_str").(String); ok {
			return strings.Fields(flags.String())
		}
	}
	return nil
}

// attribute returns a variable or a structured attribute, or nil.
func (n *normalSpec) attribute(name string) tree {
	if n.attrs != nil {
		return n.attrs[name]
	}
	if i, ok := n.findVariable(name); ok {
		return n.env[i].value
	}
	return nil
}

// hasAttribute reports whether a variable or a structured attribute exists.
func (n *normalSpec) hasAttribute(name string) bool {
	_, ok := n.attrs[name]
	if n.attrs == nil {
		_, ok = n.findVariable(name)
	}
	return ok
}

func (n *normalSpec) findVariable(name string) (i int, ok bool) {
	return slices.BinarySearchFunc(n.env, name, func(v variable, name string) int { return strings.Compare(v.name, name) })
}

// MkDerivation declares a package as stdenv.mkDerivation of nixpkgs does, and derives it. The error is an
// [*Error] with the name of the package and the field, as of [Derive].
func (e *Stdenv) MkDerivation(s StdenvSpec) (*Package, error) {
	spec, err := e.Spec(s)
	if err != nil {
		return nil, err
	}
	return Derive(spec)
}

// Define returns the package of a set that a recipe declares; see [Define]. Dependencies may be other
// packages of the set.
func (e *Stdenv) Define(recipe func() StdenvSpec) *Lazy {
	return DefineErr(func() (Spec, error) { return e.Spec(recipe()) })
}

// platform returns the platform of a system for configure.
func (e *Stdenv) platform() (string, error) {
	if e.Platform != "" {
		return e.Platform, nil
	}
	cpu, kernel, _ := strings.Cut(e.System, "-")
	switch {
	case kernel == "linux" && strings.HasPrefix(cpu, "armv"):
		return cpu + "-unknown-linux-gnueabihf", nil
	case kernel == "linux":
		return cpu + "-unknown-linux-gnu", nil
	case e.System == "aarch64-darwin":
		return "arm64-apple-darwin", nil
	case kernel == "darwin":
		return cpu + "-apple-darwin", nil
	}
	return "", fmt.Errorf("the platform of system %q is unknown: set Platform of the Stdenv", e.System)
}
