package derivation

import "fmt"

// StructuredAttrs returns the structured attributes, which stand as JSON in the
// variable [StructuredAttrsKey]: the name of each and its value, which is the JSON
// text that is there, byte for byte. The result is false if d has none.
//
// The error is an [*InvalidError] if the variable is not the JSON of an object, which
// Nix 2.34 refuses to read. [Parse] does not look at it, so that derivations of older
// versions can be read.
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
		return object, true, d.invalidStructured("it must be an object, and is " + jsonKinds[value.kind()])
	}
	return value.members(), true, nil
}

func (d *Derivation) invalidStructured(reason string) error {
	return &InvalidError{Name: d.Name, Field: envField(StructuredAttrsKey), Reason: fmt.Sprintf("the structured attributes are not valid: %s", reason)}
}

// StructuredAttrsSpelledByNix returns the variable [StructuredAttrsKey] as Nix 2.34
// would write it: without spaces, and with members sorted. Where that is not the text
// that is there, Nix 2.34 would compute other paths from the derivation than those
// that it has. The result is false if d has no structured attributes; the error is
// that of [Derivation.StructuredAttrs].
func (d *Derivation) StructuredAttrsSpelledByNix() (text string, ok bool, err error) {
	object, ok, err := d.structured()
	if !ok || err != nil {
		return "", ok, err
	}
	value := objectValue(object)
	return string(value.append(nil)), true, nil
}
