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

// Options are what a derivation asks of those who build it: attributes with a meaning
// of their own, which Nix reads from the environment, or from the structured
// attributes if there are any.
type Options struct {
	// Checks are those that all outputs must pass; nil with structured attributes,
	// which have OutputChecks instead.
	Checks *OutputChecks
	// OutputChecks are those of single outputs; only with structured attributes.
	OutputChecks Map[string, OutputChecks]
	// UnsafeDiscardReferences says of which outputs the references are not looked for;
	// only with structured attributes.
	UnsafeDiscardReferences Map[string, bool]
	// PassAsFile are variables that the builder gets as files; empty with structured
	// attributes.
	PassAsFile Set[string]
	// ExportReferencesGraph has paths whose closures the builder gets to know, by the
	// name under which it gets them.
	ExportReferencesGraph Map[string, []SingleDerivedPath]
	// SandboxProfile is added to that of the sandbox on macOS.
	SandboxProfile string
	// NoChroot asks to be built outside the sandbox.
	NoChroot bool
	// ImpureHostDeps are paths of the machine that are visible in the sandbox on macOS.
	ImpureHostDeps Set[string]
	// ImpureEnvVars are variables that come from the environment of those who build.
	ImpureEnvVars Set[string]
	// AllowLocalNetworking asks for the local network in the sandbox on macOS.
	AllowLocalNetworking bool
	// RequiredSystemFeatures are what a machine must have to build this, such as "kvm".
	RequiredSystemFeatures Set[string]
	// PreferLocalBuild says that it is not worth while to send this to another machine.
	PreferLocalBuild bool
	// AllowSubstitutes says that the outputs may come from a substituter; true unless
	// the derivation says otherwise.
	AllowSubstitutes bool
}

// OutputChecks are conditions that an output must fulfil after it was built.
type OutputChecks struct {
	// IgnoreSelfRefs lets an output refer to itself, whatever is said of references.
	IgnoreSelfRefs bool
	// MaxSize and MaxClosureSize are limits in bytes of the NAR; nil for none.
	MaxSize, MaxClosureSize *uint64
	// AllowedReferences and AllowedRequisites are what the output, or its closure, may
	// refer to; nil for anything, which is not the same as an empty list.
	AllowedReferences, AllowedRequisites []Reference
	// DisallowedReferences and DisallowedRequisites are what it must not refer to.
	DisallowedReferences, DisallowedRequisites []Reference
}

// A Reference is what an output may refer to: an output of the same derivation, or a
// path.
type Reference struct {
	Output string            // the name of an output; "" for a path
	Path   SingleDerivedPath // nil for an output
}

// Options reads the options of d as Nix 2.34 does. Paths are recognised in d.Dir;
// placeholders of outputs of inputs that are not known yet become derived paths.
//
// The error is an [*InvalidError] for an attribute that is not of the type that it
// must have, or that Nix would refuse otherwise.
func (d *Derivation) Options() (*Options, error) {
	attrs, structured, err := d.structured()
	if err != nil {
		return nil, err
	}
	r := optionReader{d: d, attrs: attrs, structured: structured, placeholders: map[string]SingleDerivedPath{}}
	r.findPlaceholders()
	o := r.read()
	if r.err != nil {
		return nil, r.err
	}
	return o, nil
}

// AllowsSubstitutes returns the option AllowSubstitutes, and does not look at the others. The error
// is an [*InvalidError] if that cannot be read.
func (d *Derivation) AllowsSubstitutes() (bool, error) {
	attrs, structured, err := d.structured()
	if err != nil {
		return false, err
	}
	r := optionReader{d: d, attrs: attrs, structured: structured}
	allowed := r.bool("allowSubstitutes", true)
	if r.err != nil {
		return false, r.err
	}
	return allowed, nil
}

// An optionReader reads options. It keeps the first error.
type optionReader struct {
	d            *Derivation
	attrs        Map[string, jsonValue] // if structured
	structured   bool
	placeholders map[string]SingleDerivedPath
	err          *InvalidError
}

func (r *optionReader) fail(attribute, reason string) {
	if r.err == nil {
		r.err = &InvalidError{Name: r.d.Name, Field: "option " + attribute, Reason: reason}
	}
}

// findPlaceholders learns what stands for the outputs of the inputs.
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

// text returns an attribute that is a string; "" if it is missing.
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

// bool returns an attribute that is a boolean: in the environment "1" is true.
func (r *optionReader) bool(name string, otherwise bool) bool {
	if !r.structured {
		value, ok := r.d.Env.Get(name)
		if !ok {
			return otherwise
		}
		return value == "1"
	}
	v, ok := r.attrs.Get(name)
	if !ok || !r.expect(name, &v, jsonBool) {
		return otherwise
	}
	return v.raw == "true"
}

func (r *optionReader) strings(name string) []string {
	list, _ := r.list(name)
	return list
}

// list returns an attribute that is a list of strings, and whether it is there: in the
// environment they are separated by white space.
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

// tokens splits s at white space as Nix does, which knows four kinds of it.
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

// references turns a list into what it refers to, sorted, each once. It is nil if
// there is no list.
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

// reference reads a placeholder, a store path, or else the name of an output.
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

// path reads a placeholder, or a path in a store object.
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

// graph reads exportReferencesGraph of the environment: names and paths in turn.
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

// structuredGraph reads exportReferencesGraph of the structured attributes: an object
// of strings, or of lists of strings that may be nested. Anything else Nix ignores.
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

// flatten appends all strings of a nested list. The depth of recursion is bounded by
// maxJSONDepth.
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

// size reads a number of bytes; nil if it is missing.
func (r *optionReader) size(field string, members Map[string, jsonValue], key string) *uint64 {
	v, ok := members.Get(key)
	if !ok || !r.expect(field+"."+key, &v, jsonNumber) {
		return nil
	}
	n, err := strconv.ParseUint(v.raw, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(v.raw, 64)
		if err != nil || f < 0 || f >= math.MaxUint64 {
			r.fail(field+"."+key, "it is not a number of bytes: "+abridge(v.raw))
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

// MarshalJSON writes the options as Nix 2.34 does (DerivationOptions in
// src/libstore/derivation-options.cc).
func (o *Options) MarshalJSON() ([]byte, error) {
	var w jsonWriter
	w.open('{')
	w.member("additionalSandboxProfile", o.SandboxProfile)
	w.bool("allowLocalNetworking", o.AllowLocalNetworking)
	w.bool("allowSubstitutes", o.AllowSubstitutes)
	w.key("exportReferencesGraph")
	w.open('{')
	for name, paths := range o.ExportReferencesGraph.All() {
		w.key(name)
		w.open('[')
		for _, p := range paths {
			w.element()
			w.derivedPath(p)
		}
		w.close(']')
	}
	w.close('}')
	w.set("impureEnvVars", o.ImpureEnvVars)
	w.set("impureHostDeps", o.ImpureHostDeps)
	w.bool("noChroot", o.NoChroot)
	w.key("outputChecks")
	w.open('{')
	if o.Checks != nil {
		w.key("forAllOutputs")
		o.Checks.write(&w)
	} else {
		w.key("perOutput")
		w.open('{')
		for name, checks := range o.OutputChecks.All() {
			w.key(name)
			checks.write(&w)
		}
		w.close('}')
	}
	w.close('}')
	w.set("passAsFile", o.PassAsFile)
	w.bool("preferLocalBuild", o.PreferLocalBuild)
	w.set("requiredSystemFeatures", o.RequiredSystemFeatures)
	w.key("unsafeDiscardReferences")
	w.open('{')
	for name, discard := range o.UnsafeDiscardReferences.All() {
		w.bool(name, discard)
	}
	w.close('}')
	w.close('}')
	return w.buf, nil
}

func (c *OutputChecks) write(w *jsonWriter) {
	w.open('{')
	w.references("allowedReferences", c.AllowedReferences, c.AllowedReferences == nil)
	w.references("allowedRequisites", c.AllowedRequisites, c.AllowedRequisites == nil)
	w.references("disallowedReferences", c.DisallowedReferences, false)
	w.references("disallowedRequisites", c.DisallowedRequisites, false)
	w.bool("ignoreSelfRefs", c.IgnoreSelfRefs)
	w.size("maxClosureSize", c.MaxClosureSize)
	w.size("maxSize", c.MaxSize)
	w.close('}')
}

func (w *jsonWriter) bool(name string, value bool) {
	w.key(name)
	w.raw(strconv.FormatBool(value))
}

func (w *jsonWriter) size(name string, value *uint64) {
	w.key(name)
	if value == nil {
		w.raw("null")
	} else {
		w.raw(strconv.FormatUint(*value, 10))
	}
}

func (w *jsonWriter) set(name string, value Set[string]) {
	w.key(name)
	w.strings(value.keys)
}

func (w *jsonWriter) references(name string, refs []Reference, null bool) {
	w.key(name)
	if null {
		w.raw("null")
		return
	}
	w.open('[')
	for _, ref := range refs {
		w.element()
		if ref.Path != nil {
			w.derivedPath(ref.Path)
			continue
		}
		w.open('{')
		w.member("drvPath", "self")
		w.member("output", ref.Output)
		w.close('}')
	}
	w.close(']')
}

// derivedPath writes a path as [SingleBuilt.MarshalJSON] does.
func (w *jsonWriter) derivedPath(p SingleDerivedPath) {
	built, ok := p.(SingleBuilt)
	if !ok {
		w.string(p.Base().Base())
		return
	}
	w.open('{')
	w.key("drvPath")
	w.derivedPath(built.Drv)
	w.member("output", built.Output)
	w.close('}')
}
