package derivation

import (
	"encoding/json"
	"fmt"
	"strings"

	"pix/storepath"
)

// An OutputsSpec selects outputs of a derivation: all of them, or some by name. The zero value selects
// none; parsing rejects that.
type OutputsSpec struct {
	all   bool
	names Set[string]
}

// AllOutputs returns the specification "*", which selects all outputs.
func AllOutputs() OutputsSpec { return OutputsSpec{all: true} }

// NamedOutputs returns the specification that selects these outputs.
func NamedOutputs(names ...string) OutputsSpec { return OutputsSpec{names: SetOf(names...)} }

// ParseOutputsSpec parses "*", or names of outputs separated by commas. A name must consist of the
// characters that are valid in the name of a store path. Duplicates are ignored. The error is a
// [*storepath.Error].
func ParseOutputsSpec(s string) (OutputsSpec, error) {
	if s == "*" {
		return AllOutputs(), nil
	}
	names := strings.Split(s, ",")
	for _, name := range names {
		if err := checkOutputName(name); err != nil {
			return OutputsSpec{}, err
		}
	}
	return OutputsSpec{names: SetOf(names...)}, nil
}

// checkOutputName returns a [*storepath.Error] unless name is valid as the name of an output.
func checkOutputName(name string) error {
	if err := storepath.CheckName(name); err != nil {
		return &storepath.Error{Text: name, Reason: "as an output name: " + err.(*storepath.Error).Reason}
	}
	return nil
}

// All reports whether o selects all outputs.
func (o OutputsSpec) All() bool { return o.all }

// Names returns the selected names; it is empty if o selects all outputs.
func (o OutputsSpec) Names() Set[string] { return o.names }

// Contains reports whether o selects the output with that name.
func (o OutputsSpec) Contains(name string) bool { return o.all || o.names.Has(name) }

// Equal reports whether o and other select the same outputs.
func (o OutputsSpec) Equal(other OutputsSpec) bool {
	return o.all == other.all && o.names.Equal(other.names)
}

// Union returns a specification that selects the outputs of both.
func (o OutputsSpec) Union(other OutputsSpec) OutputsSpec {
	if o.all || other.all {
		return AllOutputs()
	}
	return NamedOutputs(append(o.names.Slice(), other.names.keys...)...)
}

// IsSubsetOf reports whether other selects all outputs that o selects.
func (o OutputsSpec) IsSubsetOf(other OutputsSpec) bool {
	if o.all || other.all {
		return other.all
	}
	for name := range o.names.All() {
		if !other.names.Has(name) {
			return false
		}
	}
	return true
}

// String returns "*", or the names in order, separated by commas.
func (o OutputsSpec) String() string {
	if o.all {
		return "*"
	}
	return strings.Join(o.names.keys, ",")
}

// MarshalJSON returns a list of the names, or of "*" for all outputs.
func (o OutputsSpec) MarshalJSON() ([]byte, error) {
	if o.all {
		return []byte(`["*"]`), nil
	}
	return json.Marshal(o.names.Slice())
}

// UnmarshalJSON reads what MarshalJSON returns. As in Nix, it does not check the names.
func (o *OutputsSpec) UnmarshalJSON(data []byte) error {
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return fmt.Errorf("outputs: %w", err)
	}
	if names == nil {
		return fmt.Errorf("outputs: expected a list of names, found %s", truncate(string(data)))
	}
	*o = NamedOutputs(names...)
	if len(o.names.keys) == 1 && o.names.keys[0] == "*" {
		*o = AllOutputs()
	}
	return nil
}

// An ExtendedOutputsSpec is the optional part of an installable after the path: "^" and an
// [OutputsSpec], or nothing, which means the default outputs. The zero value is the latter.
type ExtendedOutputsSpec struct {
	Explicit *OutputsSpec // nil for the default
}

// CutOutputsSpec splits s at its last "^" into the part before it and the outputs after it. Without a
// "^", before is s.
func CutOutputsSpec(s string) (before string, spec ExtendedOutputsSpec, err error) {
	i := strings.LastIndexByte(s, '^')
	if i < 0 {
		return s, spec, nil
	}
	explicit, err := ParseOutputsSpec(s[i+1:])
	if err != nil {
		return "", spec, err
	}
	return s[:i], ExtendedOutputsSpec{&explicit}, nil
}

// String returns "", or "^" and the outputs.
func (e ExtendedOutputsSpec) String() string {
	if e.Explicit == nil {
		return ""
	}
	return "^" + e.Explicit.String()
}

// MarshalJSON returns null for the default, otherwise the JSON of the [OutputsSpec].
func (e ExtendedOutputsSpec) MarshalJSON() ([]byte, error) { return json.Marshal(e.Explicit) }

// UnmarshalJSON reads what MarshalJSON returns.
func (e *ExtendedOutputsSpec) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &e.Explicit)
}
