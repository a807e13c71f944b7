package pixpkgs

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"pix/internal/exactjson"
)

// A tree is the value of a structured attribute: nil, bool, int64, uint64, float64, a
// [String], []any or map[string]any of trees.
type tree any

// maxTreeDepth limits the nesting of a Go value. A value may contain itself.
const maxTreeDepth = 1000

// treeOf returns the tree of a Go value.
func treeOf(v any, depth int) (tree, error) {
	if depth > maxTreeDepth {
		return nil, fmt.Errorf("the attributes are nested more than %d deep", maxTreeDepth)
	}
	if s, ok := mention(v); ok {
		return s, s.err
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case json.Number:
		return numberTree(v.String())
	case json.Marshaler:
		return marshalledTree(v, depth)
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		return literal(string(text)), err
	}
	return reflectedTree(reflect.ValueOf(v), depth)
}

func reflectedTree(r reflect.Value, depth int) (tree, error) {
	switch r.Kind() {
	case reflect.String:
		return literal(r.String()), nil
	case reflect.Bool:
		return r.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return r.Uint(), nil
	case reflect.Float32, reflect.Float64:
		if f := r.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
		return nil, fmt.Errorf("JSON cannot represent the number %v", r.Float())
	case reflect.Pointer, reflect.Interface:
		if r.IsNil() {
			return nil, nil
		}
		return treeOf(r.Elem().Interface(), depth+1)
	case reflect.Slice, reflect.Array:
		return listTree(r, depth)
	case reflect.Map:
		return mapTree(r, depth)
	case reflect.Struct:
		return structTree(r, depth)
	default:
		return nil, fmt.Errorf("a value of type %s cannot be a structured attribute", r.Type())
	}
}

// listTree returns the tree of a slice. A nil slice is an empty list, not null.
func listTree(r reflect.Value, depth int) (tree, error) {
	list := make([]any, r.Len())
	for i := range list {
		element, err := treeOf(r.Index(i).Interface(), depth+1)
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		list[i] = element
	}
	return list, nil
}

func mapTree(r reflect.Value, depth int) (tree, error) {
	if r.Type().Key().Kind() != reflect.String {
		return nil, fmt.Errorf("the keys of %s are not strings", r.Type())
	}
	members := make(map[string]any, r.Len())
	for key, value := range r.Seq2() {
		member, err := treeOf(value.Interface(), depth+1)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", key.String(), err)
		}
		members[key.String()] = member
	}
	return members, nil
}

// structTree returns the tree of a struct: its exported fields, named and omitted according to their
// "json" tags.
func structTree(r reflect.Value, depth int) (tree, error) {
	members := map[string]any{}
	for _, field := range reflect.VisibleFields(r.Type()) {
		tag := field.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		value, err := r.FieldByIndexErr(field.Index)
		embedded := field.Anonymous && name == "" && field.Type.Kind() != reflect.String
		if !field.IsExported() || tag == "-" || embedded || err != nil {
			continue // VisibleFields includes the fields of an embedded struct
		}
		if strings.Contains(options, "omitempty") && isEmpty(value) || strings.Contains(options, "omitzero") && value.IsZero() {
			continue
		}
		if name == "" {
			name = field.Name
		}
		member, err := treeOf(value.Interface(), depth+1)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		members[name] = member
	}
	return members, nil
}

// isEmpty reports whether encoding/json omits the value with "omitempty".
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.Array, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

// marshalledTree returns the tree of a value that implements json.Marshaler.
func marshalledTree(v json.Marshaler, depth int) (tree, error) {
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
	return treeOf(decoded, depth+1)
}

func numberTree(s string) (tree, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, nil
	}
	return strconv.ParseFloat(s, 64)
}

// eachTreeString calls f for each String in t until f returns an error, and returns the error with the
// position in the tree. f may change the String.
func eachTreeString(t tree, f func(*String) error) error {
	switch t := t.(type) {
	case []any:
		for i := range t {
			if err := eachMember(t[i], f, func(v any) { t[i] = v }); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(t)) {
			if err := eachMember(t[key], f, func(v any) { t[key] = v }); err != nil {
				return fmt.Errorf("%q: %w", key, err)
			}
		}
	}
	return nil
}

func eachMember(member tree, f func(*String) error, set func(any)) error {
	s, ok := member.(String)
	if !ok {
		return eachTreeString(member, f)
	}
	before := s
	err := f(&s)
	if s.text != before.text || len(s.parts) != len(before.parts) || len(s.parts) > 0 && &s.parts[0] != &before.parts[0] {
		set(s)
	}
	return err
}

// cloneTree returns a copy of t.
func cloneTree(t tree) tree {
	switch t := t.(type) {
	case []any:
		list := make([]any, len(t))
		for i := range t {
			list[i] = cloneTree(t[i])
		}
		return list
	case map[string]any:
		members := make(map[string]any, len(t))
		for key := range t {
			members[key] = cloneTree(t[key])
		}
		return members
	}
	return t
}

// appendTree appends t as JSON, with members sorted by name. The caller normalises floats with
// [derivation.Derivation.NormalizedStructuredAttrs].
func appendTree(dst []byte, t tree) ([]byte, error) {
	switch t := t.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, t), nil
	case int64:
		return strconv.AppendInt(dst, t, 10), nil
	case uint64:
		return strconv.AppendUint(dst, t, 10), nil
	case float64:
		return strconv.AppendFloat(dst, t, 'e', -1, 64), nil
	case String:
		return appendQuoted(dst, t.String())
	case []any:
		return appendList(dst, t)
	case map[string]any:
		return appendMembers(dst, t)
	}
	panic(fmt.Sprintf("pixpkgs: unexpected %T in a tree", t))
}

func appendList(dst []byte, list []any) (_ []byte, err error) {
	dst = append(dst, '[')
	for i, element := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendTree(dst, element); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

func appendMembers(dst []byte, members map[string]any) (_ []byte, err error) {
	dst = append(dst, '{')
	for i, key := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendQuoted(dst, key); err != nil {
			return nil, err
		}
		if dst, err = appendTree(append(dst, ':'), members[key]); err != nil {
			return nil, fmt.Errorf("%q: %w", key, err)
		}
	}
	return append(dst, '}'), nil
}

// appendQuoted appends s as a JSON string. JSON must be UTF-8, and Nix rejects anything else.
func appendQuoted(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("the text %.100q is not UTF-8 and cannot be represented in JSON", s)
	}
	return exactjson.AppendString(dst, s), nil
}
