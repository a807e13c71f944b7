package nixconf

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Source is a kind of place that a value comes from.
type Source uint8

const (
	FromDefault     Source = iota // nothing sets it
	FromFile                      // a configuration file
	FromEnvironment               // NIX_CONFIG, or a variable of its own
	FromCommandLine
	FromClient // of a daemon
)

// String returns the kind of place in words, such as "environment".
func (s Source) String() string {
	return [...]string{"default", "file", "environment", "command line", "client"}[s]
}

// An Origin says where a value comes from.
type Origin struct {
	Source Source
	Name   string // the file, variable or flag
	Line   int    // in the file or in NIX_CONFIG, from 1 on; or 0
}

// String returns FILE:LINE, the name of a variable or flag, or the kind of place if there is no name.
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
	// Text is the value in the form in which Nix prints it. If the configuration has an invalid value, it is
	// the default.
	Text   string
	Origin Origin
	// Err is why the value in the configuration is invalid: a [*SyntaxError].
	Err error
}

// A Conf is a configuration: the values of all settings. The zero value has the defaults of the table, and
// [Default] returns the defaults of this machine.
type Conf struct {
	onMachine bool              // has the defaults of this machine
	inConfDir map[string]string // defaults that name files in the directory of nix.conf
	nixPath   bool              // NIX_PATH overrules nix-path

	set      map[string]Value
	unknown  []string // sorted
	warnings []string
}

// Get returns the value of a setting. The name must be in the table.
func (c *Conf) Get(name string) Value {
	s := Find(name)
	if s == nil {
		panic(fmt.Sprintf("nixconf: there is no setting %q", name))
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
	if of := machineDefaults[s.Name]; of != nil && c.onMachine {
		return of()
	}
	return s.Default
}

// Clone returns a copy.
func (c *Conf) Clone() *Conf {
	clone := *c
	clone.set = maps.Clone(c.set)
	clone.unknown, clone.warnings = slices.Clone(c.unknown), slices.Clone(c.warnings)
	return &clone
}

// Set changes a setting. If the value is invalid, the setting keeps the one that it has, and the error is a
// [*SyntaxError]. An unknown name, and a setting whose experimental feature is off, is a warning.
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

// features returns the experimental features in a list that Nix has, sorted, and warns of the others.
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

// Warnings returns the warnings of Nix about the configuration, the names of unknown settings last.
func (c *Conf) Warnings() []string {
	warnings := slices.Clone(c.warnings)
	for _, name := range c.unknown {
		warnings = append(warnings, fmt.Sprintf("unknown setting '%s'", name))
	}
	return warnings
}

// Invalid returns the names of the settings with an invalid value, sorted.
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

// apply makes the assignments of a text, first those of the experimental features, on which other settings depend. A
// setting with an invalid value gets its default and the error, so that only a reader of that setting fails.
func (c *Conf) apply(text, file string, source Source) error {
	assignments, err := Parse(text, file)
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
