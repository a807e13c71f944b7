package derivation

import (
	"slices"
	"strings"

	"pix/storepath"
)

// A Derivation is one build step: the program to run, its inputs and its outputs.
//
// The fields have the order of the .drv file. The first two are not in the file. They follow
// from its store path, and hashes and paths depend on them. [ParseAt] sets both.
type Derivation struct {
	// Name is the name of the derivation's store path without ".drv". [Parse] leaves
	// it empty.
	Name string
	// Dir is the store directory of all paths in the derivation. [Parse] takes it from the
	// first path, and leaves it empty if there is none.
	Dir storepath.Dir

	// Outputs are the outputs by name. Most derivations have one, "out".
	Outputs Map[string, Output]
	// InputDerivations are the derivations that must be built first, and the outputs of each
	// that are used.
	InputDerivations Map[storepath.Path, InputOutputs]
	// InputSources are the other store paths that must exist before the build.
	InputSources Set[storepath.Path]
	// Platform is the system that can run the builder, such as "x86_64-linux".
	Platform string
	// Builder is the program, or "builtin:" and the name of one of Nix's builtin builders.
	Builder string
	// Args are the arguments of the builder.
	Args []string
	// Env are the environment variables of the builder. The variable [StructuredAttrsKey] is
	// JSON, which the builder receives as files; here it is kept as text.
	Env Map[string, string]
}

// StructuredAttrsKey is the environment variable that contains structured attributes.
const StructuredAttrsKey = "__json"

// InputOutputs are the outputs of an input derivation that are used.
type InputOutputs struct {
	// Names are the outputs of the derivation itself.
	Names Set[string]
	// Dynamic are the outputs that are derivations themselves, with the outputs of those that
	// are used. Only dynamic derivations have any.
	Dynamic Map[string, InputOutputs]
}

// OutputsOf returns the [InputOutputs] with these names and without dynamic outputs.
func OutputsOf(names ...string) InputOutputs {
	if len(names) == 1 && names[0] == onlyOut[0] {
		return InputOutputs{Names: Set[string]{onlyOut}}
	}
	return InputOutputs{Names: SetOf(names...)}
}

// Clone returns a deep copy of d. It shares no memory with the text from which d was parsed.
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

// Clone returns a deep copy of i.
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

// Equal reports whether both derivations have the same name, store directory and text.
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

// Equal reports whether i and other have the same outputs.
func (i InputOutputs) Equal(other InputOutputs) bool {
	return i.Names.Equal(other.Names) && equalMaps(i.Dynamic, other.Dynamic, InputOutputs.Equal)
}

// IsDynamic reports whether d uses outputs of derivations that are outputs of other derivations.
// Its text then begins with DrvWithVersion.
func (d *Derivation) IsDynamic() bool {
	inputs := d.InputDerivations.entries
	if source := d.InputDerivations.source; source != nil {
		inputs = (*source).(*parsedInputs).irregularInputs // the others use only "out"
	}
	for i := range inputs {
		if inputs[i].Value.Dynamic.Len() > 0 {
			return true
		}
	}
	return false
}
