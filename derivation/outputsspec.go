package derivation

import (
	"encoding/json"
	"fmt"
	"strings"

	"pix/storepath"
)

// An OutputsSpec says which outputs of a derivation are meant: all of them, or some
// by name. The zero value names none, and is refused where it is parsed.
type OutputsSpec struct {
	all   bool
	names Set[string]
}

// AllOutputs returns the specification "*".
func AllOutputs() OutputsSpec { return OutputsSpec{all: true} }

// NamedOutputs returns the specification of these outputs.
func NamedOutputs(names ...string) OutputsSpec { return OutputsSpec{names: SetOf(names...)} }

// ParseOutputsSpec reads "*", or names of outputs separated by commas. A name has the
// characters that a store path's name may have; each counts once. The error is a
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

// checkOutputName returns a [*storepath.Error] unless name may be that of an output.
func checkOutputName(name string) error {
	if err := storepath.CheckName(name); err != nil {
		return &storepath.Error{Text: name, Reason: "as the name of an output: " + err.(*storepath.Error).Reason}
	}
	return nil
}

// All reports whether all outputs are meant.
func (o OutputsSpec) All() bool { return o.all }

// Names returns the names of the outputs that are meant; none if all are.
func (o OutputsSpec) Names() Set[string] { return o.names }

// Contains reports whether the output of that name is meant.
func (o OutputsSpec) Contains(name string) bool { return o.all || o.names.Has(name) }

// Equal reports whether o and other mean the same.
func (o OutputsSpec) Equal(other OutputsSpec) bool {
	return o.all == other.all && o.names.Equal(other.names)
}

// Union returns what o or other mean.
func (o OutputsSpec) Union(other OutputsSpec) OutputsSpec {
	if o.all || other.all {
		return AllOutputs()
	}
	return NamedOutputs(append(o.names.Slice(), other.names.keys...)...)
}

// IsSubsetOf reports whether other means all that o means.
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

// MarshalJSON writes a list of the names; for all outputs it has "*" alone.
func (o OutputsSpec) MarshalJSON() ([]byte, error) {
	if o.all {
		return []byte(`["*"]`), nil
	}
	return json.Marshal(o.names.Slice())
}

// UnmarshalJSON reads what MarshalJSON writes. As in Nix, the names are not checked
// here.
func (o *OutputsSpec) UnmarshalJSON(data []byte) error {
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return fmt.Errorf("outputs: %w", err)
	}
	if names == nil {
		return fmt.Errorf("outputs: expected a list of names, found %s", abridge(string(data)))
	}
	*o = NamedOutputs(names...)
	if len(o.names.keys) == 1 && o.names.keys[0] == "*" {
		*o = AllOutputs()
	}
	return nil
}

// An ExtendedOutputsSpec is what may follow an installable: nothing, which leaves the
// choice to Nix, or "^" and an [OutputsSpec]. The zero value is the former.
type ExtendedOutputsSpec struct {
	Explicit *OutputsSpec // nil for the default
}

// CutOutputsSpec splits s at its last "^" into what stands before it and the outputs
// after it. Without one, all is before.
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

// MarshalJSON writes null for the default, else what [OutputsSpec.MarshalJSON] does.
func (e ExtendedOutputsSpec) MarshalJSON() ([]byte, error) { return json.Marshal(e.Explicit) }

// UnmarshalJSON reads what MarshalJSON writes.
func (e *ExtendedOutputsSpec) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &e.Explicit)
}
