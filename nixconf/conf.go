package nixconf

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Source is the kind of source of a value.
type Source uint8

const (
	FromDefault     Source = iota // no source sets the value
	FromFile                      // a configuration file
	FromEnvironment               // NIX_CONFIG, or a variable for the setting
	FromCommandLine
	FromClient // a client of a daemon
)

// String returns the kind of source in words, such as "environment".
func (s Source) String() string {
	return [...]string{"default", "file", "environment", "command line", "client"}[s]
}

// An Origin is the source of a value.
type Origin struct {
	Source Source
	Name   string // the file, variable or flag
	Line   int    // line in the file or in NIX_CONFIG, counted from 1; or 0
}

// String returns FILE:LINE, the name of a variable or flag, or the kind of source if there is no name.
func (o Origin) String() string {
	switch {
	case o.Source == FromDefault || o.Name == "":
		return o.Source.String()
	case o.Line > 0:
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	}
	return o.Name
}

// A Value is the value of a setting in a configuration.
type Value struct {
	// Text is the value in the format in which Nix prints it. If the value in the configuration is
	// invalid, it is the default.
	Text   string
	Origin Origin
	// Err is a [*SyntaxError] if the value in the configuration is invalid.
	Err error
}

// A Conf is a configuration: the values of all settings. The zero value has the defaults in the table.
// [Default] returns the defaults for this machine.
type Conf struct {
	onMachine bool              // it has the defaults for this machine
	inConfDir map[string]string // defaults that are files in the directory of nix.conf
	nixPath   bool              // NIX_PATH overrides nix-path

	set      map[string]Value
	unknown  []string // sorted
	warnings []string
}

// Get returns the value of a setting. It panics if the table does not have the name.
func (c *Conf) Get(name string) Value {
	s := Find(name)
	if s == nil {
		panic(fmt.Sprintf("nixconf: unknown setting %q", name))
	}
	if v, ok := c.set[s.Name]; ok {
		return v
	}
	return Value{Text: c.defaultOf(s)}
}

// defaultOf returns the default of a setting.
func (c *Conf) defaultOf(s *Setting) string {
	if text, ok := c.inConfDir[s.Name]; ok {
		return text
	}
	if value := machineDefaults[s.Name]; value != nil && c.onMachine {
		return value()
	}
	return s.Default
}

// Clone returns a copy that shares nothing with c.
func (c *Conf) Clone() *Conf {
	clone := *c
	clone.set = maps.Clone(c.set)
	clone.unknown, clone.warnings = slices.Clone(c.unknown), slices.Clone(c.warnings)
	return &clone
}

// Set changes a setting. If the new value is invalid, Set returns a [*SyntaxError], and the setting keeps its
// value. An unknown name, or a setting whose experimental feature is off, causes a warning.
func (c *Conf) Set(a Assignment) error {
	s, appends := find(a.Name)
	if s == nil {
		if i, found := slices.BinarySearch(c.unknown, a.Name); !found {
			c.unknown = slices.Insert(c.unknown, i, a.Name)
		}
		return nil
	}
	if s.Feature != "" && !c.hasFeature(s.Feature) {
		c.warn("Ignoring setting '%s' because experimental feature '%s' is not enabled", s.Name, s.Feature)
		return nil
	}
	text, err := s.canonical(a.Value)
	if err != nil {
		return &SyntaxError{a.File, a.Line, err.Error()}
	}
	switch {
	case s.Type == Features:
		text = c.features(text)
	case s.Name == "warn-short-path-literals":
		c.setReplacement(a, text)
	}
	if appends {
		text = s.appended(c.Get(s.Name).Text, text)
	}
	c.put(s, Value{Text: text, Origin: a.origin()})
	return nil
}

func (c *Conf) put(s *Setting, v Value) {
	if c.set == nil {
		c.set = make(map[string]Value)
	}
	c.set[s.Name] = v
}

// setReplacement sets the setting that replaces warn-short-path-literals, unless it is set itself.
func (c *Conf) setReplacement(a Assignment, text string) {
	lint := "ignore"
	if text == "true" {
		lint = "warn"
	}
	c.warn("'warn-short-path-literals' is deprecated, use 'lint-short-path-literals = %s' instead", lint)
	old, isSet := c.set["lint-short-path-literals"]
	if before, ok := c.set["warn-short-path-literals"]; !isSet || ok && before.Origin == old.Origin {
		c.put(Find("lint-short-path-literals"), Value{Text: lint, Origin: a.origin()})
	}
}

// experimental are the experimental features of Nix 2.34 to 2.36.
var experimental = words(`auto-allocate-uids blake3-hashes ca-derivations cgroups configurable-impure-env
	daemon-trust-override dynamic-derivations external-builders fetch-closure fetch-tree flakes git-hashing
	impure-derivations local-overlay-store mounted-ssh-store nix-command parse-toml-timestamps pipe-operators
	read-only-local-store recursive-nix verified-fetches`)

// features returns the known experimental features in a list, sorted, and warns about the others.
func (c *Conf) features(text string) string {
	var known []string
	for _, name := range words(text) {
		switch {
		case slices.Contains(experimental, name):
			known = append(known, name)
		case name == "no-url-literals":
			c.warn("experimental feature 'no-url-literals' has been stabilized and renamed; use 'lint-url-literals = fatal' setting instead")
		default:
			c.warn("unknown experimental feature '%s'", name)
		}
		if name == "flakes" {
			known = append(known, "fetch-tree")
		}
	}
	return joinSorted(known)
}

func (c *Conf) hasFeature(name string) bool {
	return slices.Contains(words(c.Get("experimental-features").Text), name)
}

func (c *Conf) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

// Warnings returns Nix's warnings about the configuration. Warnings about unknown settings are last.
func (c *Conf) Warnings() []string {
	warnings := slices.Clone(c.warnings)
	for _, name := range c.unknown {
		warnings = append(warnings, fmt.Sprintf("unknown setting '%s'", name))
	}
	return warnings
}

// Invalid returns the names of the settings with invalid values, sorted.
func (c *Conf) Invalid() []string {
	var names []string
	for name, v := range c.set {
		if v.Err != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// apply applies the assignments in text. It begins with the experimental features, because other settings
// depend on them. A setting with an invalid value gets its default and the error, so only readers of that
// setting fail.
func (c *Conf) apply(ctx context.Context, text, file string, source Source) error {
	assignments, err := Parse(ctx, text, file)
	if err != nil {
		return err
	}
	for _, isFeature := range []bool{true, false} {
		for _, a := range assignments {
			if strings.TrimPrefix(a.Name, "extra-") == "experimental-features" != isFeature {
				continue
			}
			if a.File == file {
				a.Source = source
			}
			if c.nixPath && strings.TrimPrefix(a.Name, "extra-") == "nix-path" {
				continue
			}
			if err := c.Set(a); err != nil {
				s, _ := find(a.Name)
				c.put(s, Value{Text: c.defaultOf(s), Origin: a.origin(), Err: err})
			}
		}
	}
	return nil
}

// A Reader returns the settings of a configuration as Go values. If a setting has an invalid value, the method
// returns the default, and [Reader.Err] returns the error. So an invalid value does not affect programs that
// do not use the setting.
//
//	r := conf.Reader()
//	keep, free := r.Bool("keep-outputs"), r.Uint("min-free")
//	if err := r.Err(); err != nil { … }
//
// The methods panic if the table does not have the name. The type of the setting must match the method.
type Reader struct {
	conf *Conf
	err  error
}

// Reader returns a Reader of c.
func (c *Conf) Reader() *Reader { return &Reader{conf: c} }

// Err returns the error for the first invalid value that was read, a [*SyntaxError], or nil.
func (r *Reader) Err() error { return r.err }

// Text returns the canonical text of a setting of any type.
func (r *Reader) Text(name string) string {
	v := r.conf.Get(name)
	if r.err == nil {
		r.err = v.Err
	}
	return v.Text
}

// Bool returns a boolean.
func (r *Reader) Bool(name string) bool { return r.Text(name) == "true" }

// Words returns the elements of a list or a set.
func (r *Reader) Words(name string) []string { return words(r.Text(name)) }

// SandboxPaths returns a list of sandbox paths, sorted by target.
func (r *Reader) SandboxPaths(name string) []SandboxPath {
	var list []SandboxPath
	paths := parseSandboxPaths(r.Text(name))
	for _, target := range slices.SortedFunc(maps.Keys(paths), comparePaths) {
		p := paths[target]
		p.Target = target
		list = append(list, p)
	}
	return list
}

// Uint returns a number, or 0 if it is negative.
func (r *Reader) Uint(name string) uint64 {
	n, _ := strconv.ParseUint(r.Text(name), 10, 64) // the text is canonical
	return n
}

// Int returns a number, or the largest int if it is larger.
func (r *Reader) Int(name string) int { return int(min(r.Uint(name), math.MaxInt)) }

// Seconds returns a duration in seconds.
func (r *Reader) Seconds(name string) time.Duration { return r.duration(name, time.Second) }

// Milliseconds returns a duration in milliseconds.
func (r *Reader) Milliseconds(name string) time.Duration { return r.duration(name, time.Millisecond) }

// duration returns a number of units, or the largest duration if it is larger.
func (r *Reader) duration(name string, unit time.Duration) time.Duration {
	return time.Duration(min(r.Uint(name), uint64(math.MaxInt64/unit))) * unit
}
