package derivation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"pix/internal/exactjson"
	"pix/storepath"
)

// A DerivedPath is a request to Nix: a store path ([Opaque]), or outputs of a derivation ([Built]),
// which are built if necessary.
type DerivedPath interface {
	// Base returns the store path at the start.
	Base() storepath.Path
	// String returns the text with "^" before the outputs, as on Nix's command line.
	String() string
	// LegacyString returns the text with "!" before the outputs, as in the worker protocol.
	LegacyString() string
	isDerivedPath()
}

// A SingleDerivedPath stands for a single store path: the path itself ([Opaque]), or one output of a
// derivation ([SingleBuilt]).
type SingleDerivedPath interface {
	Base() storepath.Path
	String() string
	LegacyString() string
	isSingleDerivedPath()
}

// Opaque is a store path. Since Nix 2.13, the path of a derivation stands for the .drv file and not for
// its outputs.
type Opaque struct {
	Path storepath.Path
}

// Built selects outputs of a derivation, which may itself be an output of another derivation. All
// outputs of the derivation at path drv are
//
//	derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}
type Built struct {
	Drv     SingleDerivedPath
	Outputs OutputsSpec
}

// SingleBuilt is one output of a derivation, which may itself be an output of another derivation.
type SingleBuilt struct {
	Drv    SingleDerivedPath
	Output string
}

// Base returns the path.
func (o Opaque) Base() storepath.Path { return o.Path }

// Base returns the path of the innermost derivation.
func (b Built) Base() storepath.Path { return b.Drv.Base() }

// Base returns the path of the innermost derivation.
func (b SingleBuilt) Base() storepath.Path { return b.Drv.Base() }

// String returns the path.
func (o Opaque) String() string { return string(o.Path) }

// LegacyString returns the path.
func (o Opaque) LegacyString() string { return string(o.Path) }

// String returns the derivation, "^" and the outputs.
func (b Built) String() string { return b.Drv.String() + "^" + b.Outputs.String() }

// LegacyString returns the derivation, "!" and the outputs.
func (b Built) LegacyString() string { return b.Drv.LegacyString() + "!" + b.Outputs.String() }

// String returns the derivation, "^" and the output.
func (b SingleBuilt) String() string { return join(b, "^") }

// LegacyString returns the derivation, "!" and the output. For nested derivations, Nix 2.34 writes "^"
// before all outputs except the last, which it cannot parse again. LegacyString writes "!" before each.
func (b SingleBuilt) LegacyString() string { return join(b, "!") }

// join returns the text of a chain of outputs. It does not recurse, because a chain may be long.
func join(b SingleBuilt, separator string) string {
	outputs := []string{b.Output}
	drv := b.Drv
	for {
		next, ok := drv.(SingleBuilt)
		if !ok {
			break
		}
		outputs, drv = append(outputs, next.Output), next.Drv
	}
	var s strings.Builder
	s.WriteString(string(drv.Base()))
	for i := len(outputs) - 1; i >= 0; i-- {
		s.WriteString(separator)
		s.WriteString(outputs[i])
	}
	return s.String()
}

func (Opaque) isDerivedPath()            {}
func (Built) isDerivedPath()             {}
func (Opaque) isSingleDerivedPath()      {}
func (SingleBuilt) isSingleDerivedPath() {}

// maxDerivedPathDepth limits the number of nested outputs in a derived path. Each takes far more memory
// than its two bytes in a text, which may come from an untrusted source.
const maxDerivedPathDepth = 16

// ParseDerivedPath parses a store path in dir. The outputs may follow after "^": "*", or names separated
// by commas. More outputs may precede the last "^", each after a "^" of its own. The error is a
// [*storepath.Error].
func ParseDerivedPath(dir storepath.Dir, s string) (DerivedPath, error) {
	return parseDerivedPath(dir, s, "^")
}

// ParseLegacyDerivedPath is like [ParseDerivedPath] with "!" instead of "^", the form of the worker
// protocol and of old command lines.
func ParseLegacyDerivedPath(dir storepath.Dir, s string) (DerivedPath, error) {
	return parseDerivedPath(dir, s, "!")
}

// ParseSingleDerivedPath parses a store path in dir, optionally followed by outputs, each after "^". The
// error is a [*storepath.Error].
func ParseSingleDerivedPath(dir storepath.Dir, s string) (SingleDerivedPath, error) {
	return parseSingle(dir, s, "^")
}

// ParseLegacySingleDerivedPath is like [ParseSingleDerivedPath] with "!" instead of "^".
func ParseLegacySingleDerivedPath(dir storepath.Dir, s string) (SingleDerivedPath, error) {
	return parseSingle(dir, s, "!")
}

func parseDerivedPath(dir storepath.Dir, s, separator string) (DerivedPath, error) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		path, err := dir.Parse(s)
		if err != nil {
			return nil, err
		}
		return Opaque{path}, nil
	}
	if s[i+1:] == "" {
		return nil, &storepath.Error{Text: s, Reason: "it names no output after " + separator}
	}
	outputs, err := ParseOutputsSpec(s[i+1:])
	if err != nil {
		return nil, err
	}
	drv, err := parseSingle(dir, s[:i], separator)
	if err != nil {
		return nil, err
	}
	return Built{drv, outputs}, nil
}

func parseSingle(dir storepath.Dir, s, separator string) (SingleDerivedPath, error) {
	first, rest, more := strings.Cut(s, separator)
	path, err := dir.Parse(first)
	if err != nil {
		return nil, err
	}
	var drv SingleDerivedPath = Opaque{path}
	for depth := 0; more; depth++ {
		if depth == maxDerivedPathDepth {
			return nil, &storepath.Error{Text: s, Reason: fmt.Sprintf("more than %d nested outputs", maxDerivedPathDepth)}
		}
		var output string
		output, rest, more = strings.Cut(rest, separator)
		if err := checkOutputName(output); err != nil {
			return nil, err
		}
		drv = SingleBuilt{drv, output}
	}
	return drv, nil
}

// MarshalJSON returns the path without its store directory, as Nix 2.34 does.
func (o Opaque) MarshalJSON() ([]byte, error) { return json.Marshal(o.Path.Base()) }

// MarshalJSON returns an object with "drvPath" and "outputs".
func (b Built) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Drv     SingleDerivedPath `json:"drvPath"`
		Outputs OutputsSpec       `json:"outputs"`
	}{b.Drv, b.Outputs})
}

// MarshalJSON returns an object with "drvPath" and "output".
func (b SingleBuilt) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Drv    SingleDerivedPath `json:"drvPath"`
		Output string            `json:"output"`
	}{b.Drv, b.Output})
}

// DerivedPathFromJSON parses what the MarshalJSON methods return: the name of a store path in dir as a
// string, or an object with "drvPath" and "outputs".
func DerivedPathFromJSON(dir storepath.Dir, data []byte) (DerivedPath, error) {
	path, ok, err := opaqueFromJSON(dir, data)
	if err != nil {
		return nil, err
	}
	if ok {
		return Opaque{path}, nil
	}
	drvPath, value, err := builtFromJSON(data, "outputs", "output")
	if err != nil {
		return nil, err
	}
	var outputs OutputsSpec
	if err := outputs.UnmarshalJSON(value); err != nil {
		return nil, fmt.Errorf("derived path: %w", err)
	}
	drv, err := SingleDerivedPathFromJSON(dir, drvPath)
	if err != nil {
		return nil, err
	}
	return Built{drv, outputs}, nil
}

// builtFromJSON returns the members drvPath and name of an object, which must not have the member not.
func builtFromJSON(data []byte, name, not string) (drvPath, value json.RawMessage, err error) {
	members, err := exactjson.Object(data)
	if err != nil {
		return nil, nil, fmt.Errorf("derived path: %w", err)
	}
	if members[name] == nil || members[not] != nil {
		return nil, nil, fmt.Errorf("derived path: expected a string or an object with drvPath and %s, found %s", name, truncate(string(data)))
	}
	return members["drvPath"], members[name], nil
}

// SingleDerivedPathFromJSON parses the name of a store path in dir as a string, or an object with
// "drvPath" and "output".
func SingleDerivedPathFromJSON(dir storepath.Dir, data []byte) (SingleDerivedPath, error) {
	var outputs []string
	for {
		path, ok, err := opaqueFromJSON(dir, data)
		if err != nil {
			return nil, err
		}
		if ok {
			return builtOf(path, outputs), nil
		}
		drvPath, value, err := builtFromJSON(data, "output", "outputs")
		if err != nil {
			return nil, err
		}
		if len(outputs) == maxDerivedPathDepth {
			return nil, fmt.Errorf("derived path: more than %d nested outputs", maxDerivedPathDepth)
		}
		output, err := exactjson.String(value)
		if err != nil {
			return nil, fmt.Errorf("derived path: output: %w", err)
		}
		outputs, data = append(outputs, output), drvPath
	}
}

// builtOf returns the chain of outputs of drv. The last of outputs is the output of drv itself.
func builtOf(drv storepath.Path, outputs []string) SingleDerivedPath {
	var single SingleDerivedPath = Opaque{drv}
	for i := len(outputs) - 1; i >= 0; i-- {
		single = SingleBuilt{single, outputs[i]}
	}
	return single
}

func opaqueFromJSON(dir storepath.Dir, data []byte) (path storepath.Path, ok bool, err error) {
	if data = bytes.TrimSpace(data); len(data) == 0 || data[0] != '"' {
		return "", false, nil
	}
	var base string
	if err := json.Unmarshal(data, &base); err != nil {
		return "", true, fmt.Errorf("derived path: %w", err)
	}
	path, err = dir.ParseBase(base)
	return path, true, err
}
