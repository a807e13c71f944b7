package nixconf

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Type is the syntax of a value.
type Type uint8

const (
	Bool             Type = iota + 1 // true, yes, 1, false, no or 0
	Uint32                           // a number, with K, M, G or T for powers of 1024
	Uint64                           // a number like Uint32
	Int64                            // a number like Uint32, or a negative number
	Jobs                             // a number, or auto for one per processor
	String                           // any text
	Path                             // an absolute path
	OptionalPath                     // an absolute path or nothing
	FileName                         // a path
	Words                            // a list
	Set                              // a list whose order does not matter
	FixedSet                         // a Set that extra- does not extend
	Map                              // a list of NAME=VALUE
	Features                         // a Set of experimental features
	SandboxMode                      // true, relaxed or false
	SandboxPaths                     // a list of PATH or PATH=SOURCE, each with an optional question mark
	Lint                             // ignore, warn or fatal
	Profiler                         // disabled or flamegraph
	StoreURI                         // a store URI
	StoreURIs                        // a list of store URIs
	StoreURISet                      // a list of store URIs whose order does not matter
	ExternalBuilders                 // a JSON array
)

// typeNames are the names of the types in the documentation.
var typeNames = map[Type]string{
	Bool: "boolean", Uint32: "number", Uint64: "number", Int64: "number", Jobs: "number or auto", String: "text",
	Path: "absolute path", OptionalPath: "absolute path or nothing", FileName: "path",
	Words: "list", Set: "set", FixedSet: "set", Map: "list of NAME=VALUE", Features: "set",
	SandboxMode: "true, relaxed or false", SandboxPaths: "set of paths", Lint: "ignore, warn or fatal",
	Profiler: "disabled or flamegraph", StoreURI: "store URI", StoreURIs: "list of store URIs",
	StoreURISet: "set of store URIs", ExternalBuilders: "JSON array",
}

// String returns the name of the type in the documentation.
func (t Type) String() string { return typeNames[t] }

// appends reports whether extra-NAME appends to a setting of this type.
func (t Type) appends() bool {
	switch t {
	case Words, Set, Map, Features, SandboxPaths, StoreURIs, StoreURISet:
		return true
	}
	return false
}

// canonical returns the canonical text of a value, which Nix prints. The error has the words of Nix.
func (s *Setting) canonical(text string) (string, error) {
	switch s.Type {
	case Bool:
		return s.boolean(text)
	case Uint32, Uint64, Int64:
		return s.number(text)
	case Jobs:
		return s.jobs(text)
	case Path, OptionalPath, FileName:
		return s.path(text)
	case Words:
		return strings.Join(words(text), " "), nil
	case Set, FixedSet, Features:
		return joinSorted(words(text)), nil
	case Map:
		return joinMap(parseMap(text)), nil
	case SandboxMode:
		return s.choice(text, "", "true", "relaxed", "false")
	case SandboxPaths:
		return joinSandboxPaths(parseSandboxPaths(text)), nil
	case Lint:
		return s.choice(text, " (expected 'ignore', 'warn', or 'fatal')", "ignore", "warn", "fatal")
	case Profiler:
		return s.choice(text, "", "disabled", "flamegraph")
	case StoreURI:
		return CanonicalStore(text)
	case StoreURIs, StoreURISet:
		return s.stores(text)
	case ExternalBuilders:
		return s.externalBuilders(text)
	}
	return text, nil
}

// appended returns the canonical text of a value after appending another canonical text. A map keeps its
// entries.
func (s *Setting) appended(old, more string) string {
	switch s.Type {
	case Set, Features:
		return joinSorted(append(words(old), words(more)...))
	case Map:
		entries := parseMap(more)
		maps.Copy(entries, parseMap(old))
		return joinMap(entries)
	case SandboxPaths:
		entries := parseSandboxPaths(more)
		maps.Copy(entries, parseSandboxPaths(old))
		return joinSandboxPaths(entries)
	case StoreURISet:
		return joinStores(append(words(old), words(more)...))
	}
	return strings.TrimPrefix(old+" "+more, " ")
}

func (s *Setting) boolean(text string) (string, error) {
	b, err := ParseBool(text)
	if err != nil {
		return "", fmt.Errorf("Boolean setting '%s' has invalid value '%s'", s.Name, text)
	}
	return strconv.FormatBool(b), nil
}

// ParseBool parses a boolean of Nix. nix.conf and the parameters of store URIs have the same syntax.
func ParseBool(text string) (bool, error) {
	switch text {
	case "true", "yes", "1":
		return true, nil
	case "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("'%s' is neither true nor false", text)
}

func (s *Setting) invalid(text string) error {
	return fmt.Errorf("setting '%s' has invalid value '%s'", s.Name, text)
}

// number returns the number in decimal. A number that is too large is an error; in Nix it overflows.
func (s *Setting) number(text string) (string, error) {
	if s.Type == Int64 && strings.HasPrefix(text, "-") {
		n, err := ParseSize(text[1:])
		if err != nil || n > math.MaxInt64 {
			return "", s.invalid(text)
		}
		return strconv.FormatInt(-int64(n), 10), nil
	}
	most := map[Type]uint64{Uint32: math.MaxUint32, Uint64: math.MaxUint64, Int64: math.MaxInt64}[s.Type]
	n, err := ParseSize(strings.TrimPrefix(text, "+"))
	if err != nil || n > most {
		return "", s.invalid(text)
	}
	return strconv.FormatUint(n, 10), nil
}

// units are the letters for powers of 1024.
const units = "KMGT"

// ParseSize parses a number of bytes in the syntax of nix.conf, with K, M, G or T for powers of 1024.
func ParseSize(text string) (uint64, error) {
	digits, unit := text, uint64(1)
	if n := len(text); n > 0 {
		if i := strings.IndexByte(units, text[n-1]&^0x20); i >= 0 {
			digits, unit = text[:n-1], 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if high, low := bits.Mul64(n, unit); err == nil && high == 0 {
		return low, nil
	}
	return 0, fmt.Errorf("%q is not a number of bytes; expected a number, optionally followed by K, M, G or T", text)
}

func (s *Setting) jobs(text string) (string, error) {
	if text == "auto" {
		return text, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, 32)
	if err != nil {
		return "", fmt.Errorf("configuration setting '%s' should be 'auto' or an integer", s.Name)
	}
	return strconv.FormatUint(n, 10), nil
}

func (s *Setting) path(text string) (string, error) {
	switch {
	case text == "" && s.Type == OptionalPath:
		return "", nil
	case text == "":
		return "", fmt.Errorf("setting '%s' is a path and paths cannot be empty", s.Name)
	case s.Type == FileName:
		return text, nil
	case !path.IsAbs(text):
		return "", fmt.Errorf("setting '%s' has invalid value '%s': not an absolute path", s.Name, text)
	}
	return path.Clean(text), nil
}

// choice returns text if it is one of choices. The error ends with hint.
func (s *Setting) choice(text, hint string, choices ...string) (string, error) {
	if !slices.Contains(choices, text) {
		return "", fmt.Errorf("option '%s' has invalid value '%s'%s", s.Name, text, hint)
	}
	return text, nil
}

// words splits a list into its elements.
func words(text string) []string { return strings.FieldsFunc(text, isSpace) }

func joinSorted(list []string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}

// parseMap parses a list of NAME=VALUE. As in Nix, the first entry with a name counts, and words without an
// equal sign are ignored.
func parseMap(text string) map[string]string {
	entries := make(map[string]string)
	for _, word := range words(text) {
		name, value, ok := strings.Cut(word, "=")
		if _, exists := entries[name]; ok && !exists {
			entries[name] = value
		}
	}
	return entries
}

func joinMap(entries map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		list = append(list, name+"="+entries[name])
	}
	return strings.Join(list, " ")
}

// A SandboxPath is a path in the sandbox of a build.
type SandboxPath struct {
	Target   string `json:"-"`        // the path in the sandbox; only [Reader.SandboxPaths] sets it
	Source   string `json:"source"`   // the path on the host
	Optional bool   `json:"optional"` // the path need not exist
}

func parseSandboxPaths(text string) map[string]SandboxPath {
	paths := make(map[string]SandboxPath)
	list := words(text)
	slices.Sort(list)
	for _, word := range list {
		word, optional := strings.CutSuffix(word, "?")
		inside, outside, ok := strings.Cut(word, "=")
		if !ok {
			outside = inside
		}
		paths[inside] = SandboxPath{Source: outside, Optional: optional}
	}
	return paths
}

func joinSandboxPaths(paths map[string]SandboxPath) string {
	var list []string
	for _, inside := range slices.SortedFunc(maps.Keys(paths), comparePaths) {
		p, word := paths[inside], inside
		if p.Source != inside {
			word += "=" + p.Source
		}
		if p.Optional {
			word += "?"
		}
		list = append(list, word)
	}
	return strings.Join(list, " ")
}

// comparePaths compares paths component by component, as the C++ standard library does.
func comparePaths(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

// An ExternalBuilder is a program that runs builds for other systems.
type ExternalBuilder struct {
	Args    []string `json:"args"`
	Program string   `json:"program"`
	Systems []string `json:"systems"`
}

func (s *Setting) externalBuilders(text string) (string, error) {
	builders := []ExternalBuilder{}
	if err := json.Unmarshal([]byte(text), &builders); err != nil {
		return "", fmt.Errorf("parsing setting '%s': %w", s.Name, err)
	}
	for _, b := range builders {
		if b.Args == nil || b.Program == "" || len(b.Systems) == 0 {
			return "", fmt.Errorf("parsing setting '%s': expected args, program and systems", s.Name)
		}
		slices.Sort(b.Systems)
	}
	out, err := json.Marshal(builders)
	return string(out), err
}

// Decode returns the JSON value of a canonical text, as Nix prints it: a bool, a number, a string, nil for an
// [OptionalPath] without a value, a list or a map.
func (s *Setting) Decode(text string) any {
	switch s.Type {
	case Bool:
		return text == "true"
	case Uint32, Uint64, Int64, Jobs:
		if _, err := strconv.ParseInt(text, 10, 64); err != nil && s.Type == Jobs {
			return text
		}
		return json.Number(text)
	case OptionalPath:
		if text == "" {
			return nil
		}
	case Words, Set, FixedSet, Features, StoreURIs, StoreURISet:
		return append([]string{}, words(text)...)
	case Map:
		return parseMap(text)
	case SandboxPaths:
		return parseSandboxPaths(text)
	case SandboxMode:
		if text != "relaxed" {
			return text == "true"
		}
	case ExternalBuilders:
		return json.RawMessage(text)
	}
	return text
}

// Check returns an error in the words of Nix if value is invalid for the setting.
func (s *Setting) Check(value string) error {
	_, err := s.canonical(value)
	return err
}
