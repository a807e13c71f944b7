package pixpkgs

import "slices"

// setChecks sets the attributes that check references of the outputs.
func (m *mkDerivation) setChecks() error {
	all := m.OutputReferences.attributes()
	if m.structured {
		m.attrs["outputChecks"] = m.outputChecks()
		return nil
	}
	switch {
	case m.OutputChecks != nil:
		return m.failf("OutputChecks", "checks of single outputs require StructuredAttrs")
	case m.SeparateDebugInfo && len(all) > 0:
		return m.failf("SeparateDebugInfo", "with checks of references it requires StructuredAttrs")
	}
	for name, references := range all {
		m.attrs[name] = references
	}
	return nil
}

// outputChecks returns the checks of each output. Debug information may refer to anything.
func (m *mkDerivation) outputChecks() map[string]any {
	checks := map[string]any{}
	for _, output := range m.outputs() {
		if m.SeparateDebugInfo && output == "debug" {
			checks[output] = map[string]any{}
			continue
		}
		all, own := m.OutputReferences.attributes(), m.OutputChecks[output]
		for name, references := range own.attributes() {
			common, _ := all[name].([]any)
			all[name] = listOf(slices.Concat(common, references.([]any)))
		}
		checks[output] = all
	}
	return checks
}

// attributes returns the lists that are not nil. What they mention does not become a dependency: the build
// would have to wait for packages that the output must not refer to.
func (r *OutputReferences) attributes() map[string]any {
	attrs := map[string]any{}
	for name, references := range map[string][]any{
		"allowedReferences": r.AllowedReferences, "allowedRequisites": r.AllowedRequisites,
		"disallowedReferences": r.DisallowedReferences, "disallowedRequisites": r.DisallowedRequisites,
	} {
		if references == nil {
			continue
		}
		list := make([]any, len(references))
		for i, v := range references {
			list[i] = choose(v, untracked)
		}
		attrs[name] = list
	}
	return attrs
}

// A choice says how a mention of a package differs from its default output. If the package is not derived
// yet, it is kept in the mention.
type choice uint8

const (
	asNamed   choice = iota // the named output
	devOutput               // "dev" if the package has it, or else "out"
	untracked               // the named output, and no dependency unless it is content-addressed
)

// choose returns v, with a choice if v is a package, or one of its outputs for untracked.
func choose(v any, c choice) any {
	var p part
	switch v := v.(type) {
	case *Package:
		p = part{kind: outputPart, pkg: v}
	case *Lazy:
		p = part{kind: outputPart, lazy: v}
	case String:
		if c != untracked || len(v.parts) != 1 || v.parts[0].kind != outputPart || v.err != nil {
			return v
		}
		p = v.parts[0]
	default:
		return v
	}
	if p.pkg == nil && p.lazy == nil {
		return v // using it is an error
	}
	p.choice = c
	p.applyChoice()
	return String{parts: []part{p}}
}

// applyChoice applies the choice if the package is derived.
func (p *part) applyChoice() {
	if p.pkg == nil {
		return
	}
	switch p.choice {
	case asNamed:
	case devOutput:
		p.text = p.pkg.devOutput()
	case untracked:
		p.textOnly = !p.pkg.normal.spec.ContentAddressed
	}
	p.choice = asNamed
}

// devOutput returns the name of the output for packages that depend on p.
func (p *Package) devOutput() string {
	for _, name := range []string{"dev", "out"} {
		if slices.ContainsFunc(p.outputs, func(o output) bool { return o.name == name }) {
			return name
		}
	}
	return ""
}
