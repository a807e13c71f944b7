package derivation

import (
	"slices"
	"strings"

	"pix/storepath"
)

// A Derivation is one build step: what is run, with which inputs, and which outputs
// come of it.
//
// The fields are those of the .drv file in its order, but for the first two, which
// are not in the file: both follow from the file's own store path, and are part of
// what paths and hashes are computed from. [ParseAt] sets them both.
type Derivation struct {
	// Name is the name of the derivation's store path without ".drv". [Parse] leaves
	// it empty.
	Name string
	// Dir is the store directory of all the paths in the derivation. [Parse] takes it
	// from the first of them, and leaves it empty if there is none.
	Dir storepath.Dir

	// Outputs are what the build makes, by name. Most derivations have one, "out".
	Outputs Map[string, Output]
	// InputDerivations are the derivations that must be built before, and which of
	// their outputs are used.
	InputDerivations Map[storepath.Path, InputOutputs]
	// InputSources are the store paths that must be there before and that no
	// derivation makes.
	InputSources Set[storepath.Path]
	// Platform is the system that can run the builder, such as "x86_64-linux".
	Platform string
	// Builder is the program, or "builtin:" and the name of one of Nix's own.
	Builder string
	// Args are the arguments of the builder.
	Args []string
	// Env are the environment variables of the builder. That named [StructuredAttrsKey]
	// is JSON and becomes files; it is kept as the text that it is.
	Env Map[string, string]
}

// StructuredAttrsKey is the environment variable that holds structured attributes.
const StructuredAttrsKey = "__json"

// InputOutputs says which outputs of an input derivation are used.
type InputOutputs struct {
	// Names are the outputs of the derivation itself.
	Names Set[string]
	// Dynamic has outputs that are derivations themselves, and what is used of these.
	// It is empty but for dynamic derivations.
	Dynamic Map[string, InputOutputs]
}

// OutputsOf returns the [InputOutputs] of an ordinary derivation.
func OutputsOf(names ...string) InputOutputs { return InputOutputs{Names: SetOf(names...)} }

// Clone returns a copy that shares nothing with d that can be changed, and that does
// not hold on to the text from which d was parsed.
func (d *Derivation) Clone() *Derivation {
	c := &Derivation{
		Name:     strings.Clone(d.Name),
		Dir:      storepath.Dir(strings.Clone(string(d.Dir))),
		Platform: strings.Clone(d.Platform),
		Builder:  strings.Clone(d.Builder),
		Args:     cloneStrings(d.Args),
	}
	c.Outputs = cloneMap(d.Outputs, func(o Output) Output {
		o.path, o.digest = cloneString(o.path), strings.Clone(o.digest)
		return o
	})
	c.InputDerivations = cloneMap(d.InputDerivations, InputOutputs.Clone)
	c.InputSources.keys = cloneStrings(d.InputSources.keys)
	c.Env = cloneMap(d.Env, strings.Clone)
	return c
}

// Clone returns a copy that shares nothing with i.
func (i InputOutputs) Clone() InputOutputs {
	return InputOutputs{
		Names:   Set[string]{cloneStrings(i.Names.keys)},
		Dynamic: cloneMap(i.Dynamic, InputOutputs.Clone),
	}
}

func cloneMap[K ~string, V any](m Map[K, V], cloneValue func(V) V) Map[K, V] {
	entries := slices.Clone(m.list())
	for i, e := range entries {
		entries[i] = Entry[K, V]{cloneString(e.Key), cloneValue(e.Value)}
	}
	return Map[K, V]{entries: entries}
}

func cloneStrings[K ~string](keys []K) []K {
	keys = slices.Clone(keys)
	for i, k := range keys {
		keys[i] = cloneString(k)
	}
	return keys
}

func cloneString[K ~string](s K) K { return K(strings.Clone(string(s))) }

// Equal reports whether both derivations have the same name, store directory and
// text.
func (d *Derivation) Equal(other *Derivation) bool {
	return d.Name == other.Name && d.Dir == other.Dir &&
		equalMaps(d.Outputs, other.Outputs, equalValues) &&
		equalMaps(d.InputDerivations, other.InputDerivations, InputOutputs.Equal) &&
		d.InputSources.Equal(other.InputSources) &&
		d.Platform == other.Platform && d.Builder == other.Builder &&
		slices.Equal(d.Args, other.Args) &&
		equalMaps(d.Env, other.Env, equalValues)
}

func equalValues[T comparable](a, b T) bool { return a == b }

// Equal reports whether i and other name the same outputs.
func (i InputOutputs) Equal(other InputOutputs) bool {
	return i.Names.Equal(other.Names) && equalMaps(i.Dynamic, other.Dynamic, InputOutputs.Equal)
}

// IsDynamic reports whether d uses outputs of derivations that are themselves made
// by derivations. Its text then begins with DrvWithVersion.
func (d *Derivation) IsDynamic() bool {
	inputs := d.InputDerivations.entries
	if source := d.InputDerivations.source; source != nil {
		inputs = (*source).(*parsedInputs).oddInputs // the others are used for "out"
	}
	for i := range inputs {
		if inputs[i].Value.Dynamic.Len() > 0 {
			return true
		}
	}
	return false
}
