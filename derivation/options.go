package derivation

import (
	"fmt"
	"strconv"
)

// Options are the settings in a derivation for its builder: attributes with a special meaning, which Nix
// reads from the structured attributes, or without those from the environment.
type Options struct {
	// Checks apply to all outputs. Nil with structured attributes, which have OutputChecks instead.
	Checks *OutputChecks
	// OutputChecks are the checks of single outputs. Only with structured attributes.
	OutputChecks Map[string, OutputChecks]
	// UnsafeDiscardReferences has true for outputs that are not scanned for references. Only with
	// structured attributes.
	UnsafeDiscardReferences Map[string, bool]
	// PassAsFile are variables that the builder receives as files. Empty with structured attributes.
	PassAsFile Set[string]
	// ExportReferencesGraph has the names of files for the builder, and the paths whose closures
	// each file describes.
	ExportReferencesGraph Map[string, []SingleDerivedPath]
	// SandboxProfile is added to the profile of the sandbox on macOS.
	SandboxProfile string
	// NoChroot requests a build outside of the sandbox.
	NoChroot bool
	// ImpureHostDeps are paths of the host that are visible in the sandbox on macOS.
	ImpureHostDeps Set[string]
	// ImpureEnvVars are variables that the builder receives from the environment of Nix.
	ImpureEnvVars Set[string]
	// AllowLocalNetworking allows local networking in the sandbox on macOS.
	AllowLocalNetworking bool
	// RequiredSystemFeatures are the features that a machine needs for this build, such as "kvm".
	RequiredSystemFeatures Set[string]
	// PreferLocalBuild reports whether building on the local machine is preferred to a remote build.
	PreferLocalBuild bool
	// AllowSubstitutes reports whether the outputs may be substituted. The default is true.
	AllowSubstitutes bool
}

// OutputChecks are conditions for an output, which are checked after the build.
type OutputChecks struct {
	// IgnoreSelfRefs allows an output to refer to itself, regardless of the other conditions.
	IgnoreSelfRefs bool
	// MaxSize and MaxClosureSize are limits for the NAR size in bytes. Nil means no limit.
	MaxSize, MaxClosureSize *uint64
	// AllowedReferences and AllowedRequisites are the paths that the output, or its closure, may
	// refer to. Nil allows all paths; an empty list allows none.
	AllowedReferences, AllowedRequisites []Reference
	// DisallowedReferences and DisallowedRequisites are the paths that the output, or its closure,
	// must not refer to.
	DisallowedReferences, DisallowedRequisites []Reference
}

// A Reference in [OutputChecks] is an output of the same derivation, or a path.
type Reference struct {
	Output string            // the name of an output; "" for a path
	Path   SingleDerivedPath // nil for an output
}

// Options reads the options of d as Nix 2.34 does. It recognises paths in d.Dir. Placeholders of outputs
// of inputs become derived paths.
//
// It returns an [*InvalidError] for an attribute that has the wrong type, or that Nix rejects for another
// reason.
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

// AllowsSubstitutes returns the option AllowSubstitutes without reading the others. It returns an
// [*InvalidError] if that option cannot be read.
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

// MarshalJSON returns the options in the format of Nix 2.34 (DerivationOptions in
// src/libstore/derivation-options.cc).
func (o *Options) MarshalJSON() ([]byte, error) {
	var w jsonWriter
	w.Open('{')
	w.Member("additionalSandboxProfile", o.SandboxProfile)
	w.bool("allowLocalNetworking", o.AllowLocalNetworking)
	w.bool("allowSubstitutes", o.AllowSubstitutes)
	w.Key("exportReferencesGraph")
	w.Open('{')
	for name, paths := range o.ExportReferencesGraph.All() {
		w.Key(name)
		w.Open('[')
		for _, p := range paths {
			w.Element()
			w.derivedPath(p)
		}
		w.Close(']')
	}
	w.Close('}')
	w.set("impureEnvVars", o.ImpureEnvVars)
	w.set("impureHostDeps", o.ImpureHostDeps)
	w.bool("noChroot", o.NoChroot)
	w.Key("outputChecks")
	w.Open('{')
	if o.Checks != nil {
		w.Key("forAllOutputs")
		o.Checks.write(&w)
	} else {
		w.Key("perOutput")
		w.Open('{')
		for name, checks := range o.OutputChecks.All() {
			w.Key(name)
			checks.write(&w)
		}
		w.Close('}')
	}
	w.Close('}')
	w.set("passAsFile", o.PassAsFile)
	w.bool("preferLocalBuild", o.PreferLocalBuild)
	w.set("requiredSystemFeatures", o.RequiredSystemFeatures)
	w.Key("unsafeDiscardReferences")
	w.Open('{')
	for name, discard := range o.UnsafeDiscardReferences.All() {
		w.bool(name, discard)
	}
	w.Close('}')
	w.Close('}')
	return w.Buf, nil
}

func (c *OutputChecks) write(w *jsonWriter) {
	w.Open('{')
	w.references("allowedReferences", c.AllowedReferences, c.AllowedReferences == nil)
	w.references("allowedRequisites", c.AllowedRequisites, c.AllowedRequisites == nil)
	w.references("disallowedReferences", c.DisallowedReferences, false)
	w.references("disallowedRequisites", c.DisallowedRequisites, false)
	w.bool("ignoreSelfRefs", c.IgnoreSelfRefs)
	w.size("maxClosureSize", c.MaxClosureSize)
	w.size("maxSize", c.MaxSize)
	w.Close('}')
}

func (w *jsonWriter) bool(name string, value bool) {
	w.Key(name)
	w.Raw(strconv.FormatBool(value))
}

func (w *jsonWriter) size(name string, value *uint64) {
	w.Key(name)
	if value == nil {
		w.Raw("null")
	} else {
		w.Raw(strconv.FormatUint(*value, 10))
	}
}

func (w *jsonWriter) set(name string, value Set[string]) {
	w.Key(name)
	w.Strings(value.keys)
}

func (w *jsonWriter) references(name string, refs []Reference, null bool) {
	w.Key(name)
	if null {
		w.Raw("null")
		return
	}
	w.Open('[')
	for _, ref := range refs {
		w.Element()
		if ref.Path != nil {
			w.derivedPath(ref.Path)
			continue
		}
		w.Open('{')
		w.Member("drvPath", "self")
		w.Member("output", ref.Output)
		w.Close('}')
	}
	w.Close(']')
}

// derivedPath writes a path in the same format as [SingleBuilt.MarshalJSON].
func (w *jsonWriter) derivedPath(p SingleDerivedPath) {
	built, ok := p.(SingleBuilt)
	if !ok {
		w.String(p.Base().Base())
		return
	}
	w.Open('{')
	w.Key("drvPath")
	w.derivedPath(built.Drv)
	w.Member("output", built.Output)
	w.Close('}')
}

// StructuredAttrs returns the structured attributes, which the variable [StructuredAttrsKey] contains as
// JSON. The values are JSON texts, byte for byte as in the variable. ok is false if d has no structured
// attributes.
//
// It returns an [*InvalidError] if the variable is not a JSON object, which Nix 2.34 rejects. [Parse] does
// not check it, so that derivations of older versions can be parsed.
func (d *Derivation) StructuredAttrs() (attrs Map[string, string], ok bool, err error) {
	object, ok, err := d.structured()
	if !ok || err != nil {
		return attrs, ok, err
	}
	for i := range object.entries {
		e := &object.entries[i]
		attrs.entries = append(attrs.entries, Entry[string, string]{e.Key, e.Value.raw})
	}
	return attrs, true, nil
}

func (d *Derivation) structured() (object Map[string, jsonValue], ok bool, err error) {
	text, ok := d.Env.Get(StructuredAttrsKey)
	if !ok {
		return object, false, nil
	}
	value, err := parseJSON(text, true)
	if err != nil {
		return object, true, d.invalidStructured(err.Error())
	}
	if value.kind() != jsonObject {
		return object, true, d.invalidStructured("expected an object, found " + jsonKinds[value.kind()])
	}
	return value.members(), true, nil
}

func (d *Derivation) invalidStructured(reason string) error {
	return &InvalidError{Name: d.Name, Field: envField(StructuredAttrsKey), Reason: fmt.Sprintf("the structured attributes are not valid: %s", reason)}
}

// NormalizedStructuredAttrs returns the variable [StructuredAttrsKey] in the format of Nix 2.34: without
// spaces, and with sorted members. If that differs from the variable, Nix 2.34 computes other paths from
// the derivation than the ones that it has. ok is false if d has no structured attributes. It returns the
// same errors as [Derivation.StructuredAttrs].
func (d *Derivation) NormalizedStructuredAttrs() (text string, ok bool, err error) {
	object, ok, err := d.structured()
	if !ok || err != nil {
		return "", ok, err
	}
	value := objectValue(object)
	return string(value.append(nil)), true, nil
}
