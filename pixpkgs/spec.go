package pixpkgs

import (
	"runtime"

	"pix/derivation"
	"pix/storepath"
)

// A Spec says how a package is built. [Derive] turns it into a [Package].
//
// Fields of type any take what a builder can be told: a string; a [*Package], which
// means the path of its default output; a [String]; an [*Object]; a
// [*Lazy]. Numbers, booleans, nil
// and slices are spelled as Nix does in variables: true is "1", false and nil are "",
// floats have six decimals, the elements of slices are separated by spaces.
type Spec struct {
	// Name is the name of the package; it stands at the end of its paths. It has letters,
	// digits and "+-._?=".
	Name string
	// System is the kind of machine that can run the builder, such as "x86_64-linux". See
	// [HostSystem].
	System string
	// Builder is the program that makes the package, or "builtin:" and the name of one
	// that Nix has in itself.
	Builder any
	// Args are the arguments of the builder.
	Args []any
	// Env are the environment variables of the builder. It gets more: one for each output
	// with its path ("out"), and "name", "system" and "builder" as in Nix. Some mean
	// something to Nix, such as "allowedReferences" and "passAsFile"; see the section
	// "Advanced Attributes" of its manual.
	Env map[string]any
	// Attrs are structured attributes: a map or struct that the builder gets as JSON, in
	// the place of variables. Env must be empty then. What is said of values above is true
	// of strings in it, at any depth; structs follow the rules of encoding/json. It is
	// spelled as Nix spells JSON.
	Attrs any
	// Outputs are the names of what the build makes; the first is the default one. Nil is
	// one, "out".
	Outputs []string
	// Deps are packages, outputs and sources that the build uses without that a value
	// of the Spec mentions them, or that only plain strings mention.
	Deps []any

	// OutputHash is the hash of what the build will make, if that is known before, as
	// it is of a download: such a build has access to the network. It is in SRI form
	// ("sha256-…"), or in any other that [nixhash.ParseAny] reads.
	OutputHash string
	// OutputHashAlgo is the algorithm of an OutputHash that does not name it, or of
	// ContentAddressed outputs, which have SHA-256 if it is "".
	OutputHashAlgo string
	// OutputHashMode says of what the hash is: "flat" of one file's bytes, "recursive" (or
	// "nar") of the archive of a file or directory, "text", "git". "" is flat with an
	// OutputHash, and recursive without.
	OutputHashMode string
	// ContentAddressed gives the outputs paths that follow from their contents. They are
	// known only after the build; until then placeholders stand for them.
	ContentAddressed bool
	// Impure outputs are content-addressed ones that are built anew each time.
	Impure bool

	// Bare leaves out the variables that Nix makes of the other fields ("name", "system",
	// "builder", "outputs", "outputHash" and so on): the environment is Env, and the
	// outputs.
	Bare bool
	// Dir is the store directory; "" is [storepath.DefaultDir].
	Dir storepath.Dir

	// lenient takes paths in plain strings that are not declared for mere text, as they
	// are in files that Nix wrote.
	lenient *leniency
	// dynamic are inputs of which outputs of dynamic derivations are used.
	dynamic []dynamicInput
}

// A dynamicInput is a package that makes derivations, and what is used of these. Only files
// that Nix wrote have it.
type dynamicInput struct {
	pkg  *Package
	used derivation.Map[string, derivation.InputOutputs]
}

// HostSystem returns what [Spec.System] is for builders that run on this machine, such as
// "x86_64-linux" or "aarch64-darwin".
func HostSystem() string {
	arch, ok := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l"}[runtime.GOARCH]
	if !ok {
		arch = runtime.GOARCH
	}
	return arch + "-" + runtime.GOOS
}
