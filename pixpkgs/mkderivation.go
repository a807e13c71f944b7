package pixpkgs

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Spec returns the [Spec] that mkDerivation passes to [Derive]. The error is an [*Error].
func (e *Stdenv) Spec(s StdenvSpec) (Spec, error) {
	m := &mkDerivation{stdenv: e, StdenvSpec: s, structured: e.StructuredAttrs || s.StructuredAttrs, attrs: map[string]any{}}
	if _, unversioned := s.Attrs["version"]; s.Name == "" && (s.Pname == "" || s.Version == "" && !unversioned) {
		return Spec{}, m.failf("Name", "a package needs a Name, or a Pname and a Version")
	}
	m.Name = m.fullName()
	for _, set := range []func() error{
		m.setGiven, m.setSwitches, m.setDependencies, m.setFlags, m.setHardening, m.setChecks, m.setEnv,
	} {
		if err := set(); err != nil {
			return Spec{}, err
		}
	}
	return m.spec(), nil
}

// A mkDerivation is a call of mkDerivation.
type mkDerivation struct {
	StdenvSpec
	stdenv     *Stdenv
	structured bool
	attrs      map[string]any // attributes of the derivation
}

func (m *mkDerivation) failf(field, format string, args ...any) error {
	return &Error{Package: m.Name, Field: field, Err: fmt.Errorf(format, args...)}
}

var illegalInName = regexp.MustCompile(`[^a-zA-Z0-9+._?=-]+`)

// fullName returns the name of the package with only legal characters.
func (m *mkDerivation) fullName() string {
	const most = 207
	name := m.Name
	if name == "" {
		name = m.Pname + "-" + m.Version
	}
	if name[0] != '.' && len(name) <= most && !illegalInName.MatchString(name) {
		return name
	}
	name = illegalInName.ReplaceAllString(strings.TrimLeft(name, "."), "-")
	if name = name[max(len(name)-most, 0):]; name == "" {
		return "unknown"
	}
	return name
}

// setGiven sets the attributes that are given and do not change.
func (m *mkDerivation) setGiven() error {
	if m.stdenv.Package == nil {
		return m.failf("", "the Package of its Stdenv is nil")
	}
	for name, value := range m.Attrs {
		if field := stdenvFields[name]; field != "" && !isExplicit(name, value) {
			return m.failf(fmt.Sprintf("Attrs %q", name), "set the field %s instead", field)
		}
		if value != nil {
			m.attrs[name] = value
		}
	}
	for _, given := range []struct {
		name  string
		value any
		ok    bool
	}{
		{"pname", m.Pname, m.Pname != ""},
		{"version", m.Version, m.Version != ""},
		{"src", m.Src, m.Src != nil},
		{"srcs", m.Srcs, m.Srcs != nil},
		{"realBuilder", m.RealBuilder, m.RealBuilder != nil},
		{"userHook", m.stdenv.UserHook, m.stdenv.UserHook != nil},
		{"configurePlatforms", m.ConfigurePlatforms, m.ConfigurePlatforms != nil},
		{"hardeningEnable", m.HardeningEnable, m.HardeningEnable != nil},
		{"hardeningDisable", m.HardeningDisable, m.HardeningDisable != nil},
		{"stdenv", m.stdenv.Package, true},
		{"patches", listOf(m.Patches), true},
	} {
		if given.ok {
			m.attrs[given.name] = given.value
		}
	}
	return nil
}

// setSwitches sets the attributes that are true or false.
func (m *mkDerivation) setSwitches() error {
	parallel := m.isOn("enableParallelBuilding", m.EnableParallelBuilding || m.stdenv.EnableParallelBuilding)
	if parallel {
		m.attrs["enableParallelBuilding"] = true
		for _, name := range []string{"enableParallelChecking", "enableParallelInstalling"} {
			if m.attrs[name] == nil {
				m.attrs[name] = true
			}
		}
	}
	if m.SeparateDebugInfo {
		if m.stdenv.DebugInfoHook == nil {
			return m.failf("SeparateDebugInfo", "the Stdenv has no DebugInfoHook")
		}
		m.attrs["separateDebugInfo"] = true
	}
	m.attrs["strictDeps"] = m.isOn("strictDeps", m.StrictDeps || m.stdenv.StrictDeps)
	m.attrs["doCheck"], m.attrs["doInstallCheck"] = m.DoCheck, m.DoInstallCheck
	if !m.structured {
		m.attrs["__structuredAttrs"] = false
	}
	return nil
}

// isOn returns the value of a switch, which an explicit false in Attrs switches off.
func (m *mkDerivation) isOn(name string, value bool) bool {
	_, off := m.Attrs[name]
	return value && !off
}

// isExplicit reports whether a value is the explicit false or "" of an attribute whose field cannot tell it
// from a missing one.
func isExplicit(name string, value any) bool {
	switch name {
	case "pname", "version":
		return value == ""
	case "doCheck", "doInstallCheck", "strictDeps", "enableParallelBuilding", "separateDebugInfo":
		return value == false
	}
	return false
}

// setDependencies sets the lists of dependencies.
func (m *mkDerivation) setDependencies() error {
	lists := m.dependencies()
	for i, name := range dependencyLists {
		all := slices.Clone(lists[i])
		switch name {
		case "nativeBuildInputs":
			if m.SeparateDebugInfo {
				all = append(all, m.stdenv.DebugInfoHook)
			}
			all = m.appendTests(all, m.NativeCheckInputs, m.NativeInstallCheckInputs)
		case "buildInputs":
			all = m.appendTests(all, m.CheckInputs, m.InstallCheckInputs)
		}
		for i, dep := range all {
			all[i] = choose(dep, devOutput)
		}
		m.attrs[name] = listOf(all)
	}
	return nil
}

func (m *mkDerivation) appendTests(all, check, installCheck []any) []any {
	if m.DoCheck {
		all = append(all, check...)
	}
	if m.DoInstallCheck {
		all = append(all, installCheck...)
	}
	return all
}

// setFlags sets the flags of configure, cmake and meson.
func (m *mkDerivation) setFlags() error {
	platforms := m.ConfigurePlatforms
	if platforms == nil {
		platforms = m.stdenv.ConfigurePlatforms
	}
	flags := slices.Clone(m.ConfigureFlags)
	for _, which := range []string{"build", "host", "target"} {
		if !slices.Contains(platforms, which) {
			continue
		}
		platform, err := m.stdenv.platform()
		if err != nil {
			return m.failf("ConfigurePlatforms", "%w", err)
		}
		flags = append(flags, "--"+which+"="+platform)
	}
	m.attrs["configureFlags"] = listOf(flags)
	m.attrs["cmakeFlags"], m.attrs["mesonFlags"] = listOf(m.CMakeFlags), listOf(m.MesonFlags)
	return nil
}

// hardeningImplies has flags that a disabled flag disables too.
var hardeningImplies = map[string]string{
	"fortify": "fortify3", "strictflexarrays1": "strictflexarrays3", "libcxxhardeningfast": "libcxxhardeningextensive",
}

// setHardening sets the hardening flags of the compiler if they are not the default ones.
func (m *mkDerivation) setHardening() error {
	if len(m.HardeningEnable)+len(m.HardeningDisable) == 0 {
		return nil
	}
	if m.stdenv.HardeningFlags == nil {
		return m.failf("HardeningDisable", "the default flags are unknown: set HardeningFlags of the Stdenv")
	}
	disabled := map[string]bool{}
	for _, flag := range m.HardeningDisable {
		disabled[flag], disabled[hardeningImplies[flag]] = true, true
	}
	var enabled []string
	for _, flag := range slices.Concat(m.stdenv.HardeningFlags, m.HardeningEnable) {
		if !disabled["all"] && !disabled[flag] {
			enabled = append(enabled, flag)
		}
	}
	m.attrs["NIX_HARDENING_ENABLE"] = strings.Join(enabled, " ")
	return nil
}

// setEnv sets the environment variables. They are attributes, and with structured attributes also in "env".
func (m *mkDerivation) setEnv() error {
	env := map[string]any{}
	for name, value := range m.Env {
		if value != nil {
			env[name] = value
		}
	}
	if m.MainProgram != "" {
		env["NIX_MAIN_PROGRAM"] = m.MainProgram
	}
	for name := range env {
		if _, ok := m.attrs[name]; ok || stdenvFields[name] != "" {
			return m.failf(fmt.Sprintf("Env %q", name), "it is an attribute already")
		}
	}
	maps.Copy(m.attrs, env)
	if m.structured {
		m.attrs["env"] = env
	}
	return nil
}

// spec returns the Spec of the derivation.
func (m *mkDerivation) spec() Spec {
	for _, name := range m.stdenv.Omitted {
		if list, ok := m.attrs[name].([]any); ok && len(list) == 0 || m.attrs[name] == false {
			delete(m.attrs, name)
		}
	}
	s := Spec{
		Name: m.Name, System: m.stdenv.System, Builder: m.RealBuilder, Args: m.Args, Outputs: m.outputs(),
		OutputHash: m.OutputHash, OutputHashAlgo: m.OutputHashAlgo, OutputHashMode: m.OutputHashMode,
		ContentAddressed: m.ContentAddressed || m.stdenv.ContentAddressed && m.OutputHash == "", Impure: m.Impure,
	}
	if s.Builder == nil {
		s.Builder = m.stdenv.Shell
	}
	if s.Args == nil {
		script := m.Builder
		if script == nil {
			script = m.stdenv.Builder
		}
		s.Args = slices.Concat([]any{"-e"}, m.stdenv.Scripts, []any{script})
	}
	if s.ContentAddressed {
		s.OutputHashAlgo, s.OutputHashMode = cmp.Or(s.OutputHashAlgo, "sha256"), cmp.Or(s.OutputHashMode, "recursive")
	}
	if m.structured {
		s.Attrs = m.attrs
	} else {
		s.Env = m.attrs
	}
	return s
}

// outputs returns the names of the outputs.
func (m *mkDerivation) outputs() []string {
	outputs := slices.Clone(m.Outputs)
	if outputs == nil {
		outputs = []string{"out"}
	}
	if m.SeparateDebugInfo {
		outputs = append(outputs, "debug")
	}
	return outputs
}

// listOf returns an empty list for nil, because nil is null in JSON.
func listOf(values []any) []any {
	if values == nil {
		return []any{}
	}
	return values
}
