package derivation

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"pix/storepath"
)

// A JSONVersion is one of the forms that derivations have had in Nix's JSON.
type JSONVersion int

const (
	// JSONVersion1 is the form up to Nix 2.22: full paths, and the method in front of
	// the hash algorithm ("r:sha256").
	JSONVersion1 JSONVersion = iota + 1
	// JSONVersion2 is the form of Nix 2.23 to 2.31: the method has a member of its own.
	JSONVersion2
	// JSONVersion3 is the form of Nix 2.32: paths without the store directory, and
	// structured attributes as JSON.
	JSONVersion3
	// JSONVersion4 is the form since Nix 2.33: one member for all inputs, and hashes in
	// SRI form.
	JSONVersion4
)

// NewestJSONVersion is the form of the newest Nix, 2.34.
const NewestJSONVersion = JSONVersion4

// AppendJSON appends d as an object in that form to dst and returns the longer
// slice; the path of d is not part of it. Lines are indented by indent; if it is "",
// there are no line breaks and no spaces. Nothing is escaped that need not be.
//
// Forms 1 and 2 carry every derivation: bytes that are not UTF-8 are written as they
// are, as Nix 2.8 does. Forms 3 and 4 do not, and an [*InvalidError] names the field:
// text must be UTF-8, and structured attributes valid. Of these they keep the meaning
// and not the spelling (see [Derivation.StructuredAttrsSpelledByNix]).
func (d *Derivation) AppendJSON(dst []byte, version JSONVersion, indent string) ([]byte, error) {
	w := jsonWriter{buf: dst, indent: indent}
	if err := d.writeJSON(&w, version); err != nil {
		return nil, err
	}
	return w.buf, nil
}

// AppendJSONDocument appends an object of derivations by their paths in that form,
// as "nix derivation show" prints it: by full path in forms 1 and 2, else by the last
// component; in form 4 in a wrapper that says the version. For the rest see
// [Derivation.AppendJSON].
func AppendJSONDocument(dst []byte, derivations Map[storepath.Path, *Derivation], version JSONVersion, indent string) ([]byte, error) {
	w := jsonWriter{buf: dst, indent: indent}
	w.open('{')
	if version >= JSONVersion4 {
		w.key("derivations")
		w.open('{')
	}
	for path, d := range derivations.All() {
		w.key(spellPath(path, version))
		if err := d.writeJSON(&w, version); err != nil {
			return nil, err
		}
	}
	if version >= JSONVersion4 {
		w.close('}')
		w.key("version")
		w.raw(strconv.Itoa(int(version)))
	}
	w.close('}')
	return w.buf, nil
}

// MarshalJSON writes d in the newest form; see [Derivation.AppendJSON].
func (d *Derivation) MarshalJSON() ([]byte, error) { return d.AppendJSON(nil, NewestJSONVersion, "") }

// spellPath returns the path as it is written in that form.
func spellPath(path storepath.Path, version JSONVersion) string {
	if version < JSONVersion3 {
		return string(path)
	}
	return path.Base()
}

func (d *Derivation) writeJSON(w *jsonWriter, version JSONVersion) error {
	if version < JSONVersion1 || version > JSONVersion4 {
		return fmt.Errorf("derivation: JSON has no form %d, only 1 to %d", version, NewestJSONVersion)
	}
	env := d.Env
	if version >= JSONVersion3 {
		if err := d.checkText(); err != nil {
			return err
		}
		env = env.Clone()
		env.Delete(StructuredAttrsKey)
	}
	w.open('{')
	w.key("args")
	w.strings(d.Args)
	w.key("builder")
	w.string(d.Builder)
	w.key("env")
	w.object(env)
	if version >= JSONVersion4 {
		w.key("inputs")
		w.open('{')
		w.key("drvs")
		d.writeInputs(w, version)
		w.key("srcs")
		d.writeSources(w, version)
		w.close('}')
	} else {
		w.key("inputDrvs")
		d.writeInputs(w, version)
		w.key("inputSrcs")
		d.writeSources(w, version)
	}
	if version >= JSONVersion2 {
		w.key("name")
		w.string(d.Name)
	}
	if err := d.writeOutputs(w, version); err != nil {
		return err
	}
	if err := d.writeStructured(w, version); err != nil {
		return err
	}
	w.key("system")
	w.string(d.Platform)
	if version >= JSONVersion3 {
		w.key("version")
		w.raw(strconv.Itoa(int(version)))
	}
	w.close('}')
	return nil
}

func (d *Derivation) writeSources(w *jsonWriter, version JSONVersion) {
	w.open('[')
	for path := range d.InputSources.All() {
		w.element()
		w.string(spellPath(path, version))
	}
	w.close(']')
}

func (d *Derivation) writeInputs(w *jsonWriter, version JSONVersion) {
	w.open('{')
	for path, used := range d.InputDerivations.All() {
		w.key(spellPath(path, version))
		if version == JSONVersion1 && used.Dynamic.Len() == 0 {
			w.strings(used.Names.keys) // Nix 2.19 to 2.22 wrote objects here
		} else {
			used.write(w)
		}
	}
	w.close('}')
}

// write writes an object; the depth of recursion is bounded by maxDynamicDepth.
func (i InputOutputs) write(w *jsonWriter) {
	w.open('{')
	w.key("dynamicOutputs")
	w.open('{')
	for output, child := range i.Dynamic.All() {
		w.key(output)
		child.write(w)
	}
	w.close('}')
	w.key("outputs")
	w.strings(i.Names.keys)
	w.close('}')
}

func (d *Derivation) writeOutputs(w *jsonWriter, version JSONVersion) error {
	w.key("outputs")
	w.open('{')
	for name, output := range d.Outputs.All() {
		w.key(name)
		if output.kind == Fixed && version < JSONVersion3 {
			path, err := d.fixedPath(name, output)
			if err != nil {
				return err
			}
			output.path = path
		}
		output.write(w, version)
	}
	w.close('}')
	return nil
}

func (o Output) write(w *jsonWriter, version JSONVersion) {
	w.open('{')
	switch o.kind {
	case Fixed:
		if version >= JSONVersion4 {
			w.member("hash", o.ContentAddress().Hash().SRI())
		} else {
			w.member("hash", o.digest)
			o.writeAlgorithm(w, version)
		}
	case Floating, Impure:
		o.writeAlgorithm(w, version)
		if o.kind == Impure {
			w.key("impure")
			w.raw("true")
		}
	case InputAddressed, Deferred:
	}
	if o.MethodAlgorithm() != "" && version >= JSONVersion2 {
		w.member("method", o.method.String())
	}
	if o.kind == InputAddressed || o.kind == Fixed && version < JSONVersion3 {
		w.member("path", spellPath(o.path, version))
	}
	w.close('}')
}

func (o Output) writeAlgorithm(w *jsonWriter, version JSONVersion) {
	if version == JSONVersion1 {
		w.member("hashAlgo", o.MethodAlgorithm())
	} else {
		w.member("hashAlgo", o.algo.String())
	}
}

// writeStructured writes structured attributes in the forms that have them apart from
// the environment.
func (d *Derivation) writeStructured(w *jsonWriter, version JSONVersion) error {
	object, ok, err := d.structured()
	if !ok || version < JSONVersion3 || err != nil && version < JSONVersion3 {
		return nil
	}
	if err != nil {
		return err
	}
	w.key("structuredAttrs")
	value := objectValue(object)
	w.value(&value)
	return nil
}

// checkText returns an [*InvalidError] for the first field that is not UTF-8.
func (d *Derivation) checkText() error {
	check := func(field, s string) error {
		if utf8.ValidString(s) {
			return nil
		}
		return &InvalidError{Name: d.Name, Field: field, Reason: "it is not UTF-8, which this form of JSON cannot carry"}
	}
	if err := check("builder", d.Builder); err != nil {
		return err
	}
	if err := check("platform", d.Platform); err != nil {
		return err
	}
	for name := range d.Outputs.Keys() {
		if err := check(outputField(name), name); err != nil {
			return err
		}
	}
	for i, arg := range d.Args {
		if err := check("args "+strconv.Itoa(i), arg); err != nil {
			return err
		}
	}
	for key, value := range d.Env.All() {
		if err := check(fmt.Sprintf("env %q", key), key+value); err != nil {
			return err
		}
	}
	return nil
}

// AppendShow appends d as "pix drv-show" shows it, which is the file, field by field,
// and none of Nix's forms: an object of "outputs" (each with "path", "hashAlgo" and
// "hash" as in the file), "inputDrvs" (each with the list of outputs that are used),
// "inputSrcs", "platform", "builder", "args" and "env". Bytes that are not UTF-8 are
// written as they are.
//
// An input of which outputs of dynamic derivations are used has an object of
// "outputs" and "dynamicOutputs" in the place of the list.
func (d *Derivation) AppendShow(dst []byte, indent string) []byte {
	w := jsonWriter{buf: dst, indent: indent}
	d.show(&w)
	return w.buf
}

// AppendShowDocument appends an object of derivations by their paths, each as
// [Derivation.AppendShow] shows it.
func AppendShowDocument(dst []byte, derivations Map[storepath.Path, *Derivation], indent string) []byte {
	w := jsonWriter{buf: dst, indent: indent}
	w.open('{')
	for path, d := range derivations.All() {
		w.key(string(path))
		d.show(&w)
	}
	w.close('}')
	return w.buf
}

func (d *Derivation) show(w *jsonWriter) {
	w.open('{')
	w.key("outputs")
	w.open('{')
	for name, output := range d.Outputs.All() {
		w.key(name)
		w.open('{')
		w.member("path", string(output.path))
		w.member("hashAlgo", output.MethodAlgorithm())
		w.member("hash", output.HashField())
		w.close('}')
	}
	w.close('}')
	w.key("inputDrvs")
	d.writeInputs(w, JSONVersion1)
	w.key("inputSrcs")
	d.writeSources(w, JSONVersion1)
	w.member("platform", d.Platform)
	w.member("builder", d.Builder)
	w.key("args")
	w.strings(d.Args)
	w.key("env")
	w.object(d.Env)
	w.close('}')
}

// A jsonWriter appends JSON to a buffer.
type jsonWriter struct {
	buf    []byte
	indent string // "" for everything on one line
	depth  int
	inside bool // something stands after the last opening bracket
}

func (w *jsonWriter) open(bracket byte) {
	w.buf = append(w.buf, bracket)
	w.depth++
	w.inside = false
}

func (w *jsonWriter) close(bracket byte) {
	w.depth--
	if w.inside {
		w.line()
	}
	w.buf = append(w.buf, bracket)
	w.inside = true
}

func (w *jsonWriter) line() {
	if w.indent == "" {
		return
	}
	w.buf = append(w.buf, '\n')
	for range w.depth {
		w.buf = append(w.buf, w.indent...)
	}
}

// element writes what stands before a value in an array.
func (w *jsonWriter) element() {
	if w.inside {
		w.buf = append(w.buf, ',')
	}
	w.inside = true
	w.line()
}

// key writes what stands before a value in an object.
func (w *jsonWriter) key(name string) {
	w.element()
	w.buf = append(appendJSONString(w.buf, name), ':')
	if w.indent != "" {
		w.buf = append(w.buf, ' ')
	}
}

func (w *jsonWriter) raw(s string)    { w.buf = append(w.buf, s...) }
func (w *jsonWriter) string(s string) { w.buf = appendJSONString(w.buf, s) }

func (w *jsonWriter) member(name, value string) {
	w.key(name)
	w.string(value)
}

func (w *jsonWriter) strings(list []string) {
	w.open('[')
	for _, s := range list {
		w.element()
		w.string(s)
	}
	w.close(']')
}

func (w *jsonWriter) object(members Map[string, string]) {
	w.open('{')
	for name, value := range members.All() {
		w.member(name, value)
	}
	w.close('}')
}

// value writes a value that was read. The depth of recursion is bounded by
// maxJSONDepth.
func (w *jsonWriter) value(v *jsonValue) {
	switch v.kind() {
	case jsonArray:
		w.open('[')
		for i := range v.inner.list {
			w.element()
			w.value(&v.inner.list[i])
		}
		w.close(']')
	case jsonObject:
		w.open('{')
		for i := range v.inner.members.entries {
			w.key(v.inner.members.entries[i].Key)
			w.value(&v.inner.members.entries[i].Value)
		}
		w.close('}')
	case jsonNull, jsonBool, jsonNumber, jsonString:
		w.buf = v.append(w.buf)
	}
}
