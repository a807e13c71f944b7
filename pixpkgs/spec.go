package pixpkgs

import (
	"pix/nixconf"
	"pix/storepath"
)

// A Spec describes how to build a package. [Derive] creates the [Package].
//
// Fields of type any accept a string, a [*Package] (the path of its default output), a [String], an
// [*Object] or a [*Lazy]. Numbers, booleans, nil and slices are converted to text as in Nix's
// variables: true is "1", false and nil are "", floats have six decimals, and the elements of slices
// are separated by spaces.
type Spec struct {
	// Name is the name of the package, the last part of its paths. It may contain letters, digits
	// and "+-._?=".
	Name string
	// System is the system that can run the builder, such as "x86_64-linux". See [HostSystem].
	System string
	// Builder is the program that builds the package, or "builtin:" and the name of one of Nix's
	// builtin builders.
	Builder any
	// Args are the arguments of the builder.
	Args []any
	// Env are the environment variables of the builder. Derive adds a variable with its path for
	// each output ("out"), and "name", "system" and "builder" as Nix does. Some variables have a
	// meaning in Nix, such as "allowedReferences" and "passAsFile"; see the section "Advanced
	// Attributes" of its manual.
	Env map[string]any
	// Attrs are structured attributes: a map or struct that the builder receives as JSON instead of
	// variables. Env must then be empty. Strings in it may be any of the values above, at any depth.
	// All other Go values follow the rules of encoding/json: a nil slice or map is null, and a []byte
	// is base 64. The JSON has the format of Nix, in which the float 1 is 1.0.
	Attrs any
	// Outputs are the names of the outputs; the first is the default output. Nil means one output,
	// "out".
	Outputs []string
	// Deps are packages, outputs and sources that the build uses although no value in the Spec
	// mentions them, or only plain strings do.
	Deps []any

	// OutputHash is the hash of the output if it is known in advance, for example for a download.
	// Such a build has network access. It is in SRI form ("sha256-…"), or in another form that
	// [nixhash.ParseAny] accepts.
	OutputHash string
	// OutputHashAlgo is the algorithm of an OutputHash that does not contain it, or of
	// ContentAddressed outputs, where "" means SHA-256.
	OutputHashAlgo string
	// OutputHashMode selects the hashed bytes: "flat" for the bytes of a file, "recursive" (or "nar")
	// for the archive of a file or directory, "text", or "git". "" means flat with an OutputHash,
	// and recursive without.
	OutputHashMode string
	// ContentAddressed makes the paths of the outputs depend on their contents. The paths are known
	// only after the build; before, placeholders stand for them.
	ContentAddressed bool
	// Impure makes the outputs content-addressed, and builds them again each time.
	Impure bool

	// Bare omits the variables that Nix creates from the other fields ("name", "system", "builder",
	// "outputs", "outputHash" and so on). The environment is then Env and the outputs.
	Bare bool
	// Dir is the store directory; "" means [storepath.DefaultDir].
	Dir storepath.Dir

	// lenient accepts undeclared paths in plain strings as text, because files that Nix wrote
	// contain them.
	lenient *leniency
}

// HostSystem returns the [Spec.System] of this machine, such as "x86_64-linux" or "aarch64-darwin".
func HostSystem() string { return nixconf.Default().Get("system").Text }
