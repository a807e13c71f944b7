package pixpkgs

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
)

// maxTreeDepth limits the nesting of a Go value. A value may contain itself.
const maxTreeDepth = 1000

var (
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
	numberType        = reflect.TypeFor[json.Number]()
	stringType        = reflect.TypeFor[String]()
)

// treeOf returns the tree of a Go value. It is the tree of the JSON that encoding/json writes for the
// value, except that packages, outputs, sources and Strings are mentions at any depth.
func treeOf(v any) (tree, error) { return valueTree(reflect.ValueOf(v), 0) }

func valueTree(r reflect.Value, depth int) (tree, error) {
	if depth > maxTreeDepth {
		return nil, fmt.Errorf("the attributes are nested more than %d deep", maxTreeDepth)
	}
	if !r.IsValid() {
		return nil, nil
	}
	if isMention(r.Type()) {
		s, _ := mention(r.Interface())
		return s, s.err
	}
	if t, ok, err := marshalledTree(r, depth); ok || err != nil {
		return t, err
	}
	switch r.Kind() {
	case reflect.Interface:
		return valueTree(r.Elem(), depth) // the zero Value if it is nil
	case reflect.Pointer:
		return valueTree(r.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		return listTree(r, depth)
	case reflect.Map:
		return mapTree(r, depth)
	case reflect.Struct:
		return structTree(r, depth)
	}
	return scalarTree(r)
}

// isMention reports whether [mention] accepts values of type t.
func isMention(t reflect.Type) bool {
	switch t {
	case stringType, reflect.TypeFor[*Package](), lazyType, reflect.TypeFor[*Object]():
		return true
	}
	return false
}

func scalarTree(r reflect.Value) (tree, error) {
	switch r.Kind() {
	case reflect.String:
		if r.Type() == numberType {
			return numberTree(r.String())
		}
		return literal(r.String()), nil
	case reflect.Bool:
		return r.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return r.Uint(), nil
	case reflect.Float32, reflect.Float64:
		f := r.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("JSON cannot represent the number %v", f)
		}
		// A float32 has the shortest text that is not the text of another float32.
		return strconv.ParseFloat(strconv.FormatFloat(f, 'g', -1, r.Type().Bits()), 64)
	}
	return nil, fmt.Errorf("a value of type %s cannot be a structured attribute", r.Type())
}

// marshalledTree returns the tree of a value that converts itself to JSON or text. ok is false if the
// value does not. As in encoding/json, a method with a pointer receiver counts if the value has an
// address, and a nil pointer is null.
func marshalledTree(r reflect.Value, depth int) (_ tree, ok bool, err error) {
	if !r.CanInterface() {
		return nil, false, nil // an embedded struct whose type is not exported
	}
	for _, t := range []reflect.Type{marshalerType, textMarshalerType} {
		v := r
		if r.Kind() != reflect.Pointer && r.CanAddr() && reflect.PointerTo(r.Type()).Implements(t) {
			v = r.Addr()
		} else if !r.Type().Implements(t) || r.Kind() == reflect.Interface {
			continue
		}
		if v.Kind() == reflect.Pointer && v.IsNil() {
			return nil, true, nil
		}
		if t == textMarshalerType {
			text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
			return literal(string(text)), true, err
		}
		tree, err := jsonTree(v.Interface(), depth)
		return tree, true, err
	}
	return nil, false, nil
}

// jsonTree returns the tree of a value that implements json.Marshaler.
func jsonTree(v any, depth int) (tree, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var decoded any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&decoded); err != nil {
		return nil, err
	}
	return valueTree(reflect.ValueOf(decoded), depth+1)
}

// numberTree returns the tree of a number in JSON. As in Nix, a number without fraction and exponent is an
// integer if it fits.
func numberTree(s string) (tree, error) {
	if s == "" {
		s = "0" // as encoding/json writes it
	}
	if !json.Valid([]byte(s)) || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return nil, fmt.Errorf("%q is not a number in JSON", s)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, nil
	}
	return strconv.ParseFloat(s, 64)
}

// listTree returns the tree of a slice or array. A nil slice is null, and bytes are base 64.
func listTree(r reflect.Value, depth int) (tree, error) {
	if r.Kind() == reflect.Slice && r.IsNil() {
		return nil, nil
	}
	if r.Kind() == reflect.Slice && isByte(r.Type().Elem()) {
		return literal(base64.StdEncoding.EncodeToString(r.Bytes())), nil
	}
	list := make([]any, r.Len())
	for i := range list {
		element, err := valueTree(r.Index(i), depth+1)
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		list[i] = element
	}
	return list, nil
}

// isByte reports whether a slice of elements of type t is bytes, and not a list.
func isByte(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Kind() == reflect.Uint8 && !p.Implements(marshalerType) && !p.Implements(textMarshalerType)
}

// mapTree returns the tree of a map. A nil map is null.
func mapTree(r reflect.Value, depth int) (tree, error) {
	if r.IsNil() {
		return nil, nil
	}
	members := make(map[string]any, r.Len())
	for key, value := range r.Seq2() {
		name, err := keyText(key)
		if err != nil {
			return nil, err
		}
		if _, ok := members[name]; ok {
			return nil, fmt.Errorf("two keys of %s are %q", r.Type(), name)
		}
		member, err := valueTree(value, depth+1)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		members[name] = member
	}
	return members, nil
}

// keyText returns the name of the member for a key.
func keyText(key reflect.Value) (string, error) {
	if key.Kind() == reflect.String {
		return key.String(), nil
	}
	if key.Type().Implements(textMarshalerType) {
		if key.Kind() == reflect.Pointer && key.IsNil() {
			return "", nil
		}
		text, err := key.Interface().(encoding.TextMarshaler).MarshalText()
		return string(text), err
	}
	switch {
	case key.CanInt():
		return strconv.FormatInt(key.Int(), 10), nil
	case key.CanUint():
		return strconv.FormatUint(key.Uint(), 10), nil
	}
	return "", fmt.Errorf("the keys of a map must be strings, integers or have a method MarshalText, and a %s is not", key.Type())
}
