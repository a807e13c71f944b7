package derivation

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"pix/storepath"
)

// An optionReader reads options. It keeps the first error.
type optionReader struct {
	d            *Derivation
	attrs        Map[string, jsonValue] // the structured attributes
	structured   bool
	placeholders map[string]SingleDerivedPath
	err          *InvalidError
}

func (r *optionReader) fail(attribute, reason string) {
	if r.err == nil {
		r.err = &InvalidError{Name: r.d.Name, Field: "option " + attribute, Reason: reason}
	}
}

// findPlaceholders collects the placeholders of all used outputs of inputs.
func (r *optionReader) findPlaceholders() {
	for path, used := range r.d.InputDerivations.All() {
		r.findPlaceholdersOf(Opaque{path}, used, func(output string) (storepath.Placeholder, error) {
			return storepath.OutputPlaceholder(path, output)
		})
	}
}

func (r *optionReader) findPlaceholdersOf(drv SingleDerivedPath, used InputOutputs, placeholder func(string) (storepath.Placeholder, error)) {
	for output := range used.Names.All() {
		if p, err := placeholder(output); err == nil {
			r.placeholders[string(p)] = SingleBuilt{drv, output}
		}
	}
	for output, child := range used.Dynamic.All() {
		if p, err := placeholder(output); err == nil {
			r.findPlaceholdersOf(SingleBuilt{drv, output}, child, p.Output)
		}
	}
}

func (r *optionReader) read() *Options {
	o := &Options{
		SandboxProfile:         r.text("__sandboxProfile"),
		NoChroot:               r.bool("__noChroot", false),
		ImpureHostDeps:         SetOf(r.strings("__impureHostDeps")...),
		ImpureEnvVars:          SetOf(r.strings("impureEnvVars")...),
		AllowLocalNetworking:   r.bool("__darwinAllowLocalNetworking", false),
		RequiredSystemFeatures: SetOf(r.strings("requiredSystemFeatures")...),
		PreferLocalBuild:       r.bool("preferLocalBuild", false),
		AllowSubstitutes:       r.bool("allowSubstitutes", true),
	}
	if r.structured {
		o.OutputChecks = r.outputChecks()
		o.UnsafeDiscardReferences = r.discards()
		o.ExportReferencesGraph = r.structuredGraph()
		return o
	}
	o.PassAsFile = SetOf(r.strings("passAsFile")...)
	o.ExportReferencesGraph = r.graph()
	o.Checks = &OutputChecks{
		IgnoreSelfRefs:       true,
		AllowedReferences:    r.references(r.list("allowedReferences")),
		AllowedRequisites:    r.references(r.list("allowedRequisites")),
		DisallowedReferences: r.references(r.list("disallowedReferences")), DisallowedRequisites: r.references(r.list("disallowedRequisites")),
	}
	return o
}

// text returns a string attribute, or "" if it is missing.
func (r *optionReader) text(name string) string {
	if !r.structured {
		value, _ := r.d.Env.Get(name)
		return value
	}
	v, ok := r.attrs.Get(name)
	if !ok || !r.expect(name, &v, jsonString) {
		return ""
	}
	return v.text()
}

// bool returns a boolean attribute, or the default if it is missing. In the environment, only "1" is true.
func (r *optionReader) bool(name string, defaultValue bool) bool {
	if !r.structured {
		value, ok := r.d.Env.Get(name)
		if !ok {
			return defaultValue
		}
		return value == "1"
	}
	v, ok := r.attrs.Get(name)
	if !ok || !r.expect(name, &v, jsonBool) {
		return defaultValue
	}
	return v.raw == "true"
}

func (r *optionReader) strings(name string) []string {
	list, _ := r.list(name)
	return list
}

// list returns an attribute that is a list of strings, and whether it exists. In the environment, white
// space separates the strings.
func (r *optionReader) list(name string) ([]string, bool) {
	if !r.structured {
		value, ok := r.d.Env.Get(name)
		return tokens(value), ok
	}
	v, ok := r.attrs.Get(name)
	if !ok {
		return nil, false
	}
	return r.stringsOf(name, &v), true
}

// tokens splits s at the four characters that Nix considers white space.
func tokens(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' })
}

func (r *optionReader) expect(name string, v *jsonValue, kind jsonKind) bool {
	if v.kind() != kind {
		r.fail(name, "expected "+jsonKinds[kind]+", found "+jsonKinds[v.kind()])
	}
	return v.kind() == kind
}

func (r *optionReader) stringsOf(name string, v *jsonValue) []string {
	r.expect(name, v, jsonArray)
	list := []string{}
	for i := range v.list() {
		if element := &v.list()[i]; r.expect(name, element, jsonString) {
			list = append(list, element.text())
		}
	}
	return list
}

// references returns the references in list, sorted and without duplicates, or nil if ok is false.
func (r *optionReader) references(list []string, ok bool) []Reference {
	if !ok {
		return nil
	}
	refs := make([]Reference, 0, len(list))
	for _, s := range list {
		refs = append(refs, r.reference(s))
	}
	slices.SortFunc(refs, compareReferences)
	return slices.CompactFunc(refs, func(a, b Reference) bool { return compareReferences(a, b) == 0 })
}

// reference parses a placeholder or a store path; any other text is the name of an output.
func (r *optionReader) reference(s string) Reference {
	if built, ok := r.placeholders[s]; ok {
		return Reference{Path: built}
	}
	if p, err := r.d.Dir.Parse(path.Clean(s)); err == nil && strings.HasPrefix(s, "/") {
		return Reference{Path: Opaque{p}}
	}
	return Reference{Output: s}
}

// compareReferences orders outputs before paths, and paths as comparePaths does.
func compareReferences(a, b Reference) int {
	switch {
	case a.Path == nil && b.Path == nil:
		return cmp.Compare(a.Output, b.Output)
	case a.Path == nil:
		return -1
	case b.Path == nil:
		return 1
	}
	return comparePaths(a.Path, b.Path)
}

// comparePaths orders store paths before outputs of derivations, as Nix does.
func comparePaths(a, b SingleDerivedPath) int {
	builtA, isBuiltA := a.(SingleBuilt)
	builtB, isBuiltB := b.(SingleBuilt)
	switch {
	case isBuiltA && isBuiltB:
		return cmp.Or(comparePaths(builtA.Drv, builtB.Drv), cmp.Compare(builtA.Output, builtB.Output))
	case isBuiltA:
		return 1
	case isBuiltB:
		return -1
	}
	return cmp.Compare(a.Base(), b.Base())
}

// path parses a placeholder, or a path in a store object.
func (r *optionReader) path(name, s string) (SingleDerivedPath, bool) {
	if built, ok := r.placeholders[s]; ok {
		return built, true
	}
	p, _, err := r.d.Dir.ParseInside(s)
	if err != nil {
		r.fail(name, err.Error())
		return nil, false
	}
	return Opaque{p}, true
}

// graph reads exportReferencesGraph of the environment: names and paths alternate.
func (r *optionReader) graph() (graph Map[string, []SingleDerivedPath]) {
	const name = "exportReferencesGraph"
	list := r.strings(name)
	if len(list)%2 != 0 {
		r.fail(name, fmt.Sprintf("odd number of tokens in 'exportReferencesGraph': '%s'", r.text(name)))
		return graph
	}
	for i := 0; i < len(list); i += 2 {
		if !isFileName(list[i]) {
			r.fail(name, fmt.Sprintf("invalid file name '%s' in 'exportReferencesGraph'", list[i]))
			return graph
		}
		if p, ok := r.path(name, list[i+1]); ok {
			graph.Set(list[i], []SingleDerivedPath{p})
		}
	}
	return graph
}

// isFileName reports whether s matches [A-Za-z_][A-Za-z0-9_.-]*.
func isFileName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '.' || c == '-')) {
			return false
		}
	}
	return s != ""
}

// structuredGraph reads exportReferencesGraph of the structured attributes: an object of strings, or of
// lists of strings that may be nested. Nix ignores a value of any other type.
func (r *optionReader) structuredGraph() (graph Map[string, []SingleDerivedPath]) {
	const name = "exportReferencesGraph"
	v, ok := r.attrs.Get(name)
	if !ok || v.kind() != jsonObject {
		return graph
	}
	for key, value := range v.members().All() {
		paths := []SingleDerivedPath{}
		for _, s := range r.flatten(name, &value, nil) {
			if p, ok := r.path(name, s); ok {
				paths = append(paths, p)
			}
		}
		slices.SortFunc(paths, comparePaths)
		graph.Set(key, slices.CompactFunc(paths, func(a, b SingleDerivedPath) bool { return comparePaths(a, b) == 0 }))
	}
	return graph
}

// flatten appends all strings of a nested list to all. It recurses at most maxJSONDepth times.
func (r *optionReader) flatten(name string, v *jsonValue, all []string) []string {
	switch v.kind() {
	case jsonString:
		return append(all, v.text())
	case jsonArray:
		for i := range v.list() {
			all = r.flatten(name, &v.list()[i], all)
		}
	case jsonNull, jsonBool, jsonNumber, jsonObject:
		r.fail(name, "expected a string or an array of strings, found "+jsonKinds[v.kind()])
	}
	return all
}

func (r *optionReader) outputChecks() (all Map[string, OutputChecks]) {
	const name = "outputChecks"
	v, ok := r.attrs.Get(name)
	if !ok || !r.expect(name, &v, jsonObject) {
		return all
	}
	for output, checks := range v.members().All() {
		field := name + "." + output
		if !r.expect(field, &checks, jsonObject) {
			return all
		}
		members := checks.members()
		references := func(key string) []Reference {
			v, ok := members.Get(key)
			if !ok {
				return nil
			}
			return r.references(r.stringsOf(field+"."+key, &v), true)
		}
		all.Set(output, OutputChecks{
			MaxSize:              r.size(field, members, "maxSize"),
			MaxClosureSize:       r.size(field, members, "maxClosureSize"),
			AllowedReferences:    references("allowedReferences"),
			AllowedRequisites:    references("allowedRequisites"),
			DisallowedReferences: references("disallowedReferences"), DisallowedRequisites: references("disallowedRequisites"),
		})
	}
	return all
}

// size reads a number of bytes, or returns nil if the member is missing.
func (r *optionReader) size(field string, members Map[string, jsonValue], key string) *uint64 {
	v, ok := members.Get(key)
	if !ok || !r.expect(field+"."+key, &v, jsonNumber) {
		return nil
	}
	n, err := strconv.ParseUint(v.raw, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(v.raw, 64)
		if err != nil || f < 0 || f >= math.MaxUint64 {
			r.fail(field+"."+key, "it is not a number of bytes: "+truncate(v.raw))
			return nil
		}
		n = uint64(f)
	}
	return &n
}

func (r *optionReader) discards() (all Map[string, bool]) {
	const name = "unsafeDiscardReferences"
	v, ok := r.attrs.Get(name)
	if !ok || !r.expect(name, &v, jsonObject) {
		return all
	}
	for output, discard := range v.members().All() {
		if r.expect(name+"."+output, &discard, jsonBool) {
			all.Set(output, discard.raw == "true")
		}
	}
	return all
}
