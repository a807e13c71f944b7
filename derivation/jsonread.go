package derivation

import (
	"fmt"
	"strings"

	"pix/nixhash"
	"pix/storepath"
)

// JSONOptions are the options for reading derivations from JSON. A nil pointer is the zero value.
type JSONOptions struct {
	// Dir is the store directory; "" means [storepath.DefaultDir]. Versions 3 and 4 do not contain
	// it. Full paths must lie in it.
	Dir storepath.Dir
	// Name is the name of a derivation whose JSON does not contain it. The default is the variable
	// "name", then the name in the path of an output.
	Name string
}

// ParseJSON parses one derivation: an object in any version of Nix's JSON, or a document (see
// [ParseJSONDocument]) that contains one derivation.
//
// It accepts more than any Nix: an object may mix versions, for example use full paths in version 4, and
// it may have the format of [Derivation.AppendShow], in which an empty text is a missing member.
// It rejects members that no version has. The path of a fixed output is computed, if the name is
// known. As in Nix, a different path in the JSON is an error.
//
// The structured attributes of versions 3 and 4 become the variable [StructuredAttrsKey] in the
// format of Nix 2.34, unless the environment already has that variable.
//
// The error is a [*JSONError].
func ParseJSON(text string, o *JSONOptions) (*Derivation, error) {
	value, err := parseJSON(text, false)
	if err != nil {
		return nil, err
	}
	if value.members().Has("outputs") {
		return o.derivation("", &value)
	}
	all, err := o.document(&value)
	if err != nil {
		return nil, err
	}
	if all.Len() != 1 {
		return nil, &JSONError{-1, "", fmt.Sprintf("expected one derivation, found %d", all.Len())}
	}
	_, d := all.At(0)
	return d, nil
}

// ParseJSONDocument parses an object of derivations by path, with or without the wrapper of version 4.
// The paths may be full or without the store directory. A derivation whose JSON does not contain its
// name has the name of its path. Otherwise it is like [ParseJSON].
func ParseJSONDocument(text string, o *JSONOptions) (Map[storepath.Path, *Derivation], error) {
	value, err := parseJSON(text, false)
	if err != nil {
		return Map[storepath.Path, *Derivation]{}, err
	}
	return o.document(&value)
}

func (o *JSONOptions) dir() storepath.Dir {
	if o == nil || o.Dir == "" {
		return storepath.DefaultDir
	}
	return o.Dir
}

func (o *JSONOptions) document(value *jsonValue) (all Map[storepath.Path, *Derivation], err error) {
	r := jsonReader{dir: o.dir()}
	drvs := r.objectOf("", value)
	if inner, ok := drvs.Get("derivations"); ok {
		if version, ok := drvs.Get("version"); ok {
			r.version("version", &version)
		}
		drvs = r.objectOf("derivations", &inner)
	}
	for key, object := range drvs.All() {
		path := r.storePath(key, key)
		if r.err != nil {
			return all, r.err
		}
		name, err := NameOf(path)
		if err != nil {
			return all, &JSONError{-1, key, err.Error()}
		}
		d, err := (&JSONOptions{Dir: r.dir, Name: name}).derivation(key, &object)
		if err != nil {
			return all, err
		}
		all.Set(path, d)
	}
	return all, r.error()
}

func (o *JSONOptions) derivation(field string, value *jsonValue) (*Derivation, error) {
	r := jsonReader{dir: o.dir(), prefix: field}
	d := &Derivation{Dir: r.dir}
	if o != nil {
		d.Name = o.Name
	}
	members := r.objectOf("", value)
	if r.err != nil {
		return nil, r.err
	}
	for name, member := range members.All() {
		r.member(d, name, &member)
	}
	for _, name := range []string{"outputs", "system", "builder", "args", "env"} {
		if !members.Has(name) && !(name == "system" && members.Has("platform")) {
			r.fail(name, "it is missing")
		}
	}
	if !members.Has("inputs") && !(members.Has("inputDrvs") && members.Has("inputSrcs")) {
		r.fail("inputs", "it is missing, and so are inputDrvs and inputSrcs")
	}
	if d.Name == "" {
		d.Name = impliedName(d)
	}
	if r.err == nil && d.Name != "" {
		r.setFixedPaths(d)
	}
	return d, r.error()
}

// impliedName returns the name that follows from the variable name, or else from the path of an output; "" if none does.
func impliedName(d *Derivation) string {
	if name, _ := d.Env.Get("name"); name != "" {
		return name
	}
	for output, o := range d.Outputs.All() {
		if o.path == "" {
			continue
		}
		name, ok := o.path.Name(), output == "out"
		if !ok {
			name, ok = strings.CutSuffix(name, "-"+output)
		}
		if ok {
			return name
		}
	}
	return ""
}

// A jsonReader converts JSON values to derivations. It keeps the first error.
type jsonReader struct {
	dir    storepath.Dir
	prefix string // prefix of the field names in errors
	err    *JSONError
}

func (r *jsonReader) error() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

func (r *jsonReader) fail(field, reason string) {
	if r.err != nil {
		return
	}
	switch {
	case r.prefix == "":
	case field == "":
		field = r.prefix
	default:
		field = r.prefix + "." + field
	}
	r.err = &JSONError{-1, field, reason}
}

func (r *jsonReader) expect(field string, v *jsonValue, kind jsonKind) bool {
	if v.kind() != kind {
		r.fail(field, "expected "+jsonKinds[kind]+", found "+jsonKinds[v.kind()])
	}
	return v.kind() == kind
}

func (r *jsonReader) objectOf(field string, v *jsonValue) Map[string, jsonValue] {
	r.expect(field, v, jsonObject)
	return v.members()
}

func (r *jsonReader) stringOf(field string, v *jsonValue) string {
	if !r.expect(field, v, jsonString) {
		return ""
	}
	return v.text()
}

func (r *jsonReader) stringsOf(field string, v *jsonValue) []string {
	r.expect(field, v, jsonArray)
	list := make([]string, len(v.list()))
	for i := range list {
		// The field of an error has no index: to build one for each element would take longer than
		// to read the list.
		list[i] = r.stringOf(field, &v.list()[i])
	}
	return list
}

// storePath parses a path that is full or without the store directory.
func (r *jsonReader) storePath(field, s string) storepath.Path {
	parse := r.dir.ParseBase
	if strings.HasPrefix(s, "/") {
		parse = r.dir.Parse
	}
	path, err := parse(s)
	if err != nil {
		r.fail(field, err.Error())
	}
	return path
}

func (r *jsonReader) version(field string, v *jsonValue) {
	if v.kind() != jsonNumber || len(v.raw) != 1 || v.raw < "1" || v.raw > "4" {
		r.fail(field, fmt.Sprintf("unknown version %s, expected 1 to %d", truncate(v.raw), NewestJSONVersion))
	}
}

// member reads one member of the object of a derivation.
func (r *jsonReader) member(d *Derivation, name string, v *jsonValue) {
	switch name {
	case "name":
		if value := r.stringOf(name, v); d.Name == "" {
			d.Name = value
		} else if d.Name != value {
			r.fail(name, fmt.Sprintf("it is %q, but in the path it is %q", truncate(value), d.Name))
		}
	case "version":
		r.version(name, v)
	case "outputs":
		for output, object := range r.objectOf(name, v).All() {
			d.Outputs.Set(output, r.output("outputs."+output, &object))
		}
	case "inputs":
		r.inputs(d, v)
	case "inputDrvs":
		r.inputDerivations(d, name, v)
	case "inputSrcs":
		r.inputSources(d, name, v)
	case "system", "platform":
		d.Platform = r.stringOf(name, v)
	case "builder":
		d.Builder = r.stringOf(name, v)
	case "args":
		d.Args = r.stringsOf(name, v)
	case "env":
		for key, value := range r.objectOf(name, v).All() {
			d.Env.Set(key, r.stringOf("env."+key, &value))
		}
	case "structuredAttrs":
		// env precedes this member in the alphabet, so it was read before.
		if r.expect(name, v, jsonObject) && !d.Env.Has(StructuredAttrsKey) {
			d.Env.Set(StructuredAttrsKey, string(v.append(nil)))
		}
	default:
		r.fail(name, "unknown member")
	}
}

// inputs reads the inputs of a derivation, or the array of sources that Nix 2.36 writes for a resolved
// derivation.
func (r *jsonReader) inputs(d *Derivation, v *jsonValue) {
	if v.kind() == jsonArray {
		r.inputSources(d, "inputs", v)
		return
	}
	members := r.objectOf("inputs", v)
	for name, member := range members.All() {
		switch name {
		case "drvs":
			r.inputDerivations(d, "inputs.drvs", &member)
		case "srcs":
			r.inputSources(d, "inputs.srcs", &member)
		default:
			r.fail("inputs."+name, "unknown member")
		}
	}
	for _, name := range []string{"drvs", "srcs"} {
		if !members.Has(name) {
			r.fail("inputs."+name, "it is missing")
		}
	}
}

func (r *jsonReader) inputSources(d *Derivation, field string, v *jsonValue) {
	var paths []storepath.Path
	for _, s := range r.stringsOf(field, v) {
		paths = append(paths, r.storePath(field, s))
	}
	d.InputSources = SetOf(paths...)
}

func (r *jsonReader) inputDerivations(d *Derivation, field string, v *jsonValue) {
	for key, used := range r.objectOf(field, v).All() {
		path := r.storePath(field+"."+key, key)
		d.InputDerivations.Set(path, r.inputOutputs(field+"."+key, &used, 0))
	}
}

// inputOutputs reads a list of outputs, or an object with "outputs" and "dynamicOutputs".
func (r *jsonReader) inputOutputs(field string, v *jsonValue, depth int) (used InputOutputs) {
	if v.kind() == jsonArray {
		return OutputsOf(r.stringsOf(field, v)...)
	}
	if depth == maxDynamicDepth {
		r.fail(field, fmt.Sprintf("outputs of dynamic derivations are nested more than %d deep", maxDynamicDepth))
		return used
	}
	for name, member := range r.objectOf(field, v).All() {
		switch name {
		case "outputs":
			used.Names = SetOf(r.stringsOf(field+".outputs", &member)...)
		case "dynamicOutputs":
			for output, child := range r.objectOf(field+".dynamicOutputs", &member).All() {
				// Only the outermost name is in the field of an error. Otherwise its length would
				// grow with the nesting.
				used.Dynamic.Set(output, r.inputOutputs(field, &child, depth+1))
			}
		default:
			r.fail(field+"."+name, "unknown member")
		}
	}
	return used
}

// An outputJSON holds the members of an output's object.
type outputJSON struct {
	path, method, algo, hash string
	hasPath, hasAlgo         bool
	hasHash, impure          bool
}

func (r *jsonReader) output(field string, v *jsonValue) Output {
	var o outputJSON
	for name, member := range r.objectOf(field, v).All() {
		at := field + "." + name
		switch name {
		case "path":
			// Version 3 has no path for fixed outputs. Older versions have null for other kinds.
			if member.kind() != jsonNull {
				o.path = r.stringOf(at, &member)
			}
			o.hasPath = o.path != ""
		case "method":
			o.method = r.stringOf(at, &member)
		case "hashAlgo":
			o.algo = r.stringOf(at, &member)
			o.hasAlgo = o.algo != ""
		case "hash":
			o.hash = r.stringOf(at, &member)
			o.impure = o.impure || o.hash == "impure"
			o.hasHash = o.hash != "" && o.hash != "impure"
		case "impure":
			o.impure = r.expect(at, &member, jsonBool) && member.raw == "true" || o.impure
		default:
			r.fail(at, "unknown member")
		}
	}
	if r.err != nil {
		return Output{}
	}
	return r.outputOf(field, o)
}

// outputOf returns the output with these members.
func (r *jsonReader) outputOf(field string, o outputJSON) Output {
	var path storepath.Path
	if o.hasPath {
		path = r.storePath(field+".path", o.path)
	}
	if !o.hasAlgo && !o.hasHash && o.method == "" && !o.impure {
		if !o.hasPath {
			return DeferredOutput()
		}
		return InputAddressedOutput(path)
	}
	method, algo := r.methodAlgorithm(field, o)
	switch {
	case o.hasHash && o.impure:
		r.fail(field, "an output cannot be both fixed and impure")
	case o.hasHash:
		hash, err := nixhash.ParseAny(o.hash, algo)
		if err != nil {
			r.fail(field+".hash", err.Error())
			return Output{}
		}
		return fixedOutput(method, hash, path)
	case o.hasPath:
		r.fail(field+".path", "an output that is neither input-addressed nor fixed has a path")
	case algo == 0:
		r.fail(field+".hashAlgo", "it is missing")
	case o.impure:
		return ImpureOutput(method, algo)
	default:
		return FloatingOutput(method, algo)
	}
	return Output{}
}

// methodAlgorithm reads method and algorithm, either from one member ("r:sha256") or from two. The
// algorithm is zero if only the hash has it.
func (r *jsonReader) methodAlgorithm(field string, o outputJSON) (m storepath.Method, a nixhash.Algorithm) {
	name := o.algo
	var err error
	if o.method == "" {
		if !o.hasAlgo {
			r.fail(field+".method", "it is missing")
		}
		m, name = storepath.CutMethod(name)
	} else if m, err = storepath.ParseMethod(o.method); err != nil {
		r.fail(field+".method", err.Error())
	}
	if o.hasAlgo {
		if a, err = nixhash.ParseAlgorithm(name); err != nil {
			r.fail(field+".hashAlgo", err.Error())
		}
	}
	return m, a
}

// setFixedPaths computes and sets the paths of fixed outputs.
func (r *jsonReader) setFixedPaths(d *Derivation) {
	for i := range d.Outputs.entries {
		name, output := d.Outputs.entries[i].Key, &d.Outputs.entries[i].Value
		if output.kind != Fixed {
			continue
		}
		path, err := d.fixedPath(name, *output)
		if err != nil {
			r.fail("outputs."+name, err.Error())
			return
		}
		if output.path != "" && output.path != path {
			r.fail("outputs."+name+".path", fmt.Sprintf("it is %s, but the path computed from name and hash is %s", output.path, path))
			return
		}
		output.path = path
	}
}
