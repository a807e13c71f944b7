package pixpkgs

import (
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// A normalSpec is a [Spec] whose values are converted to Strings. It shares no memory with the Spec that
// the caller could change. The package that is derived from it keeps it.
type normalSpec struct {
	spec    Spec // only its plain strings and booleans are used
	dir     storepath.Dir
	outputs []string // the default output is first
	named   bool     // the Spec has the names of the outputs
	builder String
	args    []String
	env     []variable // sorted by name
	attrs   map[string]any
	deps    []String
}

// A variable is an environment variable.
type variable struct {
	name  string
	value String
}

// normalise converts s, and makes the checks that do not need the dependencies.
func normalise(s *Spec) (*normalSpec, error) {
	n := &normalSpec{spec: *s, dir: s.Dir, outputs: slices.Clone(s.Outputs), builder: coerce(s.Builder)}
	n.spec.Builder, n.spec.Args, n.spec.Env, n.spec.Attrs, n.spec.Deps, n.spec.Outputs = nil, nil, nil, nil, nil, nil
	if n.dir == "" {
		n.dir = storepath.DefaultDir
	}
	n.args, n.env = make([]String, len(s.Args)), make([]variable, 0, len(s.Env))
	for i, v := range s.Args {
		n.args[i] = coerce(v)
	}
	for name, v := range s.Env {
		n.env = append(n.env, variable{name, coerce(v)})
	}
	slices.SortFunc(n.env, func(a, b variable) int { return strings.Compare(a.name, b.name) })
	if err := n.setDeps(s.Deps); err != nil {
		return nil, err
	}
	if err := n.setAttrs(s); err != nil {
		return nil, err
	}
	if err := n.checkNames(); err != nil {
		return nil, err
	}
	return n, n.checkOutputs(s.Outputs)
}

func (n *normalSpec) fail(field string, err error) error {
	return &Error{Package: n.spec.Name, Field: field, Err: err}
}

func (n *normalSpec) failf(field, format string, args ...any) error {
	return n.fail(field, fmt.Errorf(format, args...))
}

// setDeps converts the dependencies. Other values are an error.
func (n *normalSpec) setDeps(deps []any) error {
	for i, v := range deps {
		s, ok := mention(v)
		if !ok {
			return n.failf(fmt.Sprintf("Deps[%d]", i), "a value of type %T is not a package, output, source or String", v)
		}
		n.deps = append(n.deps, s)
	}
	return nil
}

func (n *normalSpec) setAttrs(s *Spec) error {
	if s.Attrs == nil {
		return nil
	}
	if len(s.Env) > 0 {
		return n.failf("Env", "it must be empty with Attrs, because the builder receives the attributes as JSON")
	}
	t, err := treeOf(s.Attrs)
	if err != nil {
		return n.fail("Attrs", err)
	}
	attrs, ok := t.(map[string]any)
	if !ok {
		return n.failf("Attrs", "a %T is not a set of attributes: it must be a struct, or a map that is not nil", s.Attrs)
	}
	n.attrs = attrs
	return nil
}

// checkNames checks the name and the system of the package.
func (n *normalSpec) checkNames() error {
	name := n.spec.Name
	if err := storepath.CheckName(name + storepath.DerivationExt); err != nil || name == "" {
		return n.failf("Name", "%q is not valid: a name has 1 to %d letters, digits and \"+-._?=\"", name, storepath.MaxNameLen-len(storepath.DerivationExt))
	}
	if strings.HasSuffix(name, storepath.DerivationExt) && (n.spec.OutputHashMode != "text" || len(n.outputs) > 1) {
		return n.failf("Name", "only a package whose single output is a derivation (OutputHashMode \"text\") may have a name that ends in %q", storepath.DerivationExt)
	}
	if n.spec.System == "" && n.spec.lenient == nil {
		return n.failf("System", "it is missing; the system of this machine is %q", HostSystem())
	}
	return nil
}

// checkOutputs checks the names of the outputs, or sets the default.
func (n *normalSpec) checkOutputs(given []string) error {
	if n.named = given != nil; !n.named {
		n.outputs = []string{"out"}
		return nil
	}
	if len(given) == 0 {
		return n.failf("Outputs", "it is empty; use nil for the output \"out\"")
	}
	seen := map[string]bool{}
	for _, output := range given {
		switch {
		case seen[output]:
			return n.failf("Outputs", "duplicate output %q", output)
		case output == "drvPath":
			return n.failf("Outputs", "the name %q is reserved", output)
		case output == "" || storepath.CheckName(storepath.OutputName(n.spec.Name, output)) != nil:
			return n.failf("Outputs", "%q is not valid as an output name: names have letters, digits and \"+-._?=\", and at most %d bytes together with the name of the package", output, storepath.MaxNameLen)
		}
		seen[output] = true
	}
	return nil
}

// eachString calls f for each String until f returns an error, and returns the error with the field.
func (n *normalSpec) eachString(f func(*String) error) error {
	if err := f(&n.builder); err != nil {
		return n.fail("Builder", err)
	}
	for i := range n.args {
		if err := f(&n.args[i]); err != nil {
			return n.fail(fmt.Sprintf("Args[%d]", i), err)
		}
	}
	for i := range n.env {
		if err := f(&n.env[i].value); err != nil {
			return n.fail(fmt.Sprintf("Env %q", n.env[i].name), err)
		}
	}
	for i := range n.deps {
		if err := f(&n.deps[i]); err != nil {
			return n.fail(fmt.Sprintf("Deps[%d]", i), err)
		}
	}
	if n.attrs == nil {
		return nil
	}
	if err := eachTreeString(n.attrs, f); err != nil {
		return n.fail("Attrs", err)
	}
	return nil
}

// mapStrings returns a copy of n in which f replaces each String. If f returns false, the String does
// not change.
func (n *normalSpec) mapStrings(f func(*String) (String, bool, error)) (*normalSpec, error) {
	c := *n
	c.args, c.env, c.deps = slices.Clone(n.args), slices.Clone(n.env), slices.Clone(n.deps)
	if n.attrs != nil {
		c.attrs = cloneTree(n.attrs).(map[string]any)
	}
	err := c.eachString(func(s *String) error {
		changed, ok, err := f(s)
		if ok {
			*s = changed
		}
		return err
	})
	return &c, err
}

// toSpec returns a Spec that normalises to n, and shares no memory with it.
func (n *normalSpec) toSpec() Spec {
	s := n.spec
	s.Dir = n.dir
	if n.named {
		s.Outputs = slices.Clone(n.outputs)
	}
	s.Builder = valueOf(n.builder)
	for _, v := range n.args {
		s.Args = append(s.Args, valueOf(v))
	}
	if n.attrs == nil {
		s.Env = make(map[string]any, len(n.env))
	}
	for _, v := range n.env {
		s.Env[v.name] = valueOf(v.value)
	}
	for _, v := range n.deps {
		s.Deps = append(s.Deps, v)
	}
	if n.attrs != nil {
		s.Attrs = attrsValue(n.attrs)
	}
	return s
}

// valueOf returns s as a plain string if it mentions nothing, and otherwise s.
func valueOf(s String) any {
	if text, ok := s.plain(); ok {
		return text
	}
	return s
}

// attrsValue returns a copy of a tree in which Strings that mention nothing are plain strings.
func attrsValue(t tree) any {
	switch t := t.(type) {
	case String:
		return valueOf(t)
	case []any:
		list := make([]any, len(t))
		for i := range t {
			list[i] = attrsValue(t[i])
		}
		return list
	case map[string]any:
		members := make(map[string]any, len(t))
		for key := range t {
			members[key] = attrsValue(t[key])
		}
		return members
	}
	return t
}
