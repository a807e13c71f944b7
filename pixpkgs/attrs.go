package pixpkgs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"pix/internal/exactjson"
)

// A tree is the value of a structured attribute: nil, bool, int64, uint64, float64, a
// [String], []any or map[string]any of trees.
type tree any

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
