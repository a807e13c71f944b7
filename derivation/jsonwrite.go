package derivation

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"pix/storepath"
)

// A JSONVersion is a version of Nix's JSON format of derivations.
type JSONVersion int

const (
	// JSONVersion1 is the format up to Nix 2.22: full paths, and the method as a prefix of the hash
	// algorithm ("r:sha256").
	JSONVersion1 JSONVersion = iota + 1
	// JSONVersion2 is the format of Nix 2.23 to 2.31: the method is a separate member.
	JSONVersion2
	// JSONVersion3 is the format of Nix 2.32: paths without the store directory, and structured
	// attributes as JSON.
	JSONVersion3
	// JSONVersion4 is the format since Nix 2.33: one member for all inputs, and hashes in SRI form.
	JSONVersion4
)

// NewestJSONVersion is the format of Nix 2.34.
const NewestJSONVersion = JSONVersion4

// AppendJSON appends d as a JSON object in the given version to dst and returns the extended slice. The
// object does not contain the path of d. indent is the indentation of lines; if it is "", there are no
// line breaks and spaces. Only characters that need escapes have them.
//
// Versions 1 and 2 can represent every derivation: bytes that are not UTF-8 are written unchanged, as
// Nix 2.8 does. In versions 3 and 4, text must be UTF-8 and structured attributes must be valid;
// otherwise AppendJSON returns an [*InvalidError] with the field. These versions keep the meaning of
// structured attributes but not their text (see [Derivation.NormalizedStructuredAttrs]).
func (d *Derivation) AppendJSON(dst []byte, version JSONVersion, indent string) ([]byte, error) {
	w := newJSONWriter(dst, indent)
	if err := d.writeJSON(w, version); err != nil {
		return nil, err
	}
	return w.Buf, nil
}

// AppendJSONDocument appends an object of derivations by path in the given version, as "nix derivation
// show" prints it. The paths are full in versions 1 and 2, and otherwise without the store directory.
// Version 4 has a wrapper with the version. Otherwise it is like [Derivation.AppendJSON].
func AppendJSONDocument(dst []byte, derivations Map[storepath.Path, *Derivation], version JSONVersion, indent string) ([]byte, error) {
	w := newJSONWriter(dst, indent)
	w.Open('{')
	if version >= JSONVersion4 {
		w.Key("derivations")
		w.Open('{')
	}
	for path, d := range derivations.All() {
		w.Key(jsonPath(path, version))
		if err := d.writeJSON(w, version); err != nil {
			return nil, err
		}
	}
	if version >= JSONVersion4 {
		w.Close('}')
		w.Key("version")
		w.Raw(strconv.Itoa(int(version)))
	}
	w.Close('}')
	return w.Buf, nil
}

// MarshalJSON returns d in the newest version; see [Derivation.AppendJSON].
func (d *Derivation) MarshalJSON() ([]byte, error) { return d.AppendJSON(nil, NewestJSONVersion, "") }

// jsonPath returns the text of path in the given version.
func jsonPath(path storepath.Path, version JSONVersion) string {
	if version < JSONVersion3 {
		return string(path)
	}
	return path.Base()
}

func (d *Derivation) writeJSON(w *jsonWriter, version JSONVersion) error {
	if version < JSONVersion1 || version > JSONVersion4 {
		return fmt.Errorf("derivation: unknown JSON version %d, expected 1 to %d", version, NewestJSONVersion)
	}
	env := d.Env
	if version >= JSONVersion3 {
		if err := d.checkText(); err != nil {
			return err
		}
		env = env.Clone()
		env.Delete(StructuredAttrsKey)
	}
	w.Open('{')
	w.Key("args")
	w.Strings(d.Args)
	w.Key("builder")
	w.String(d.Builder)
	w.Key("env")
	w.object(env)
	if version >= JSONVersion4 {
		w.Key("inputs")
		w.Open('{')
		w.Key("drvs")
		d.writeInputs(w, version)
		w.Key("srcs")
		d.writeSources(w, version)
		w.Close('}')
	} else {
		w.Key("inputDrvs")
		d.writeInputs(w, version)
		w.Key("inputSrcs")
		d.writeSources(w, version)
	}
	if version >= JSONVersion2 {
		w.Key("name")
		w.String(d.Name)
	}
	if err := d.writeOutputs(w, version); err != nil {
		return err
	}
	if err := d.writeStructured(w, version); err != nil {
		return err
	}
	w.Key("system")
	w.String(d.Platform)
	if version >= JSONVersion3 {
		w.Key("version")
		w.Raw(strconv.Itoa(int(version)))
	}
	w.Close('}')
	return nil
}

func (d *Derivation) writeSources(w *jsonWriter, version JSONVersion) {
	w.Open('[')
	for path := range d.InputSources.All() {
		w.Element()
		w.String(jsonPath(path, version))
	}
	w.Close(']')
}

func (d *Derivation) writeInputs(w *jsonWriter, version JSONVersion) {
	w.Open('{')
	for path, used := range d.InputDerivations.All() {
		w.Key(jsonPath(path, version))
		if version == JSONVersion1 && used.Dynamic.Len() == 0 {
			w.Strings(used.Names.keys) // Nix 2.19 to 2.22 wrote objects here
		} else {
			used.write(w)
		}
	}
	w.Close('}')
}

// write writes an object. It recurses at most maxDynamicDepth times.
func (i InputOutputs) write(w *jsonWriter) {
	w.Open('{')
	w.Key("dynamicOutputs")
	w.Open('{')
	for output, child := range i.Dynamic.All() {
		w.Key(output)
		child.write(w)
	}
	w.Close('}')
	w.Key("outputs")
	w.Strings(i.Names.keys)
	w.Close('}')
}

func (d *Derivation) writeOutputs(w *jsonWriter, version JSONVersion) error {
	w.Key("outputs")
	w.Open('{')
	for name, output := range d.Outputs.All() {
		w.Key(name)
		if output.kind == Fixed && version < JSONVersion3 {
			path, err := d.fixedPath(name, output)
			if err != nil {
				return err
			}
			output.path = path
		}
		output.write(w, version)
	}
	w.Close('}')
	return nil
}

func (o Output) write(w *jsonWriter, version JSONVersion) {
	w.Open('{')
	switch o.kind {
	case Fixed:
		if version >= JSONVersion4 {
			w.Member("hash", o.ContentAddress().Hash().SRI())
		} else {
			w.Member("hash", o.digest)
			o.writeAlgorithm(w, version)
		}
	case Floating, Impure:
		o.writeAlgorithm(w, version)
		if o.kind == Impure {
			w.Key("impure")
			w.Raw("true")
		}
	case InputAddressed, Deferred:
	}
	if o.MethodAlgorithm() != "" && version >= JSONVersion2 {
		w.Member("method", o.method.String())
	}
	if o.kind == InputAddressed || o.kind == Fixed && version < JSONVersion3 {
		w.Member("path", jsonPath(o.path, version))
	}
	w.Close('}')
}

func (o Output) writeAlgorithm(w *jsonWriter, version JSONVersion) {
	if version == JSONVersion1 {
		w.Member("hashAlgo", o.MethodAlgorithm())
	} else {
		w.Member("hashAlgo", o.algo.String())
	}
}

// writeStructured writes structured attributes in the versions that separate them from the environment.
func (d *Derivation) writeStructured(w *jsonWriter, version JSONVersion) error {
	object, ok, err := d.structured()
	if !ok || version < JSONVersion3 || err != nil && version < JSONVersion3 {
		return nil
	}
	if err != nil {
		return err
	}
	w.Key("structuredAttrs")
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
		return &InvalidError{Name: d.Name, Field: field, Reason: "it is not UTF-8, which this version of the JSON cannot represent"}
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

// AppendShow appends d as JSON in the format of "pix drv-show", which follows the .drv file and not Nix's
// JSON: an object with "outputs" (each with "path", "hashAlgo" and "hash" as in the file), "inputDrvs"
// (each with the list of its used outputs), "inputSrcs", "platform", "builder", "args" and "env". Bytes
// that are not UTF-8 are written unchanged. "name" comes first if it does not follow from the variable
// "name" or the path of an output. [ParseJSON] reads this format too.
//
// An input with used outputs of dynamic derivations has an object with "outputs" and "dynamicOutputs"
// instead of the list.
func (d *Derivation) AppendShow(dst []byte, indent string) []byte {
	w := newJSONWriter(dst, indent)
	d.show(w)
	return w.Buf
}

// AppendShowDocument appends an object of derivations by path, each in the format of
// [Derivation.AppendShow].
func AppendShowDocument(dst []byte, derivations Map[storepath.Path, *Derivation], indent string) []byte {
	w := newJSONWriter(dst, indent)
	w.Open('{')
	for path, d := range derivations.All() {
		w.Key(string(path))
		d.show(w)
	}
	w.Close('}')
	return w.Buf
}

func (d *Derivation) show(w *jsonWriter) {
	w.Open('{')
	if d.Name != impliedName(d) && d.Name != "" {
		w.Member("name", d.Name)
	}
	w.Key("outputs")
	w.Open('{')
	for name, output := range d.Outputs.All() {
		w.Key(name)
		w.Open('{')
		w.Member("path", string(output.path))
		w.Member("hashAlgo", output.MethodAlgorithm())
		w.Member("hash", output.HashField())
		w.Close('}')
	}
	w.Close('}')
	w.Key("inputDrvs")
	d.writeInputs(w, JSONVersion1)
	w.Key("inputSrcs")
	d.writeSources(w, JSONVersion1)
	w.Member("platform", d.Platform)
	w.Member("builder", d.Builder)
	w.Key("args")
	w.Strings(d.Args)
	w.Key("env")
	w.object(d.Env)
	w.Close('}')
}
