package pixpkgs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// A structField is a field that is a member of the JSON of a struct.
type structField struct {
	name   string
	tagged bool  // the name is in the tag
	index  []int // see reflect.Value.FieldByIndex
	typ    reflect.Type

	omitEmpty, omitZero, quoted bool
}

// structTree returns the tree of a struct: its exported fields and the exported fields of embedded structs, named and
// omitted according to their "json" tags.
func structTree(r reflect.Value, depth int) (tree, error) {
	switch r.Type() {
	case reflect.TypeFor[Package](), reflect.TypeFor[Lazy](), reflect.TypeFor[Object]():
		return nil, fmt.Errorf("a %s cannot be a structured attribute: use a pointer", r.Type())
	}
	members := map[string]any{}
	for _, f := range visibleFields(r.Type()) {
		value, err := r.FieldByIndexErr(f.index)
		if err != nil {
			continue // it is in an embedded struct whose pointer is nil
		}
		if f.omitEmpty && isEmpty(value) || f.omitZero && isZero(value) {
			continue
		}
		member, err := f.tree(value, depth)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", f.name, err)
		}
		members[f.name] = member
	}
	return members, nil
}

// tree returns the tree of the value of the field. With the option "string" it is the JSON of the value as
// a string, unless the value converts itself to JSON or is nil.
func (f *structField) tree(value reflect.Value, depth int) (tree, error) {
	if !f.quoted {
		return valueTree(value, depth+1)
	}
	if t, ok, err := marshalledTree(value, depth); ok || err != nil {
		return t, err
	}
	if value.Kind() == reflect.Pointer && value.IsNil() {
		return nil, nil
	}
	text, err := json.Marshal(value.Interface())
	return literal(string(text)), err
}

// visibleFields returns the fields of t and of the structs that it embeds. As in Go, a field hides deeper
// ones with its name. Of several at the same depth, the only one with a tag counts, or else none.
func visibleFields(t reflect.Type) []structField {
	var all []structField
	level := []structField{{typ: t}}
	times := map[reflect.Type]int{t: 1} // how often the level above embeds a type
	seen := map[reflect.Type]bool{}
	for len(level) > 0 {
		var next []structField
		nextTimes := map[reflect.Type]int{}
		for _, s := range level {
			if seen[s.typ] {
				continue
			}
			seen[s.typ] = true
			fields, embedded := ownFields(s)
			for range min(times[s.typ], 2) { // the fields of a type that is embedded twice hide each other
				all = append(all, fields...)
			}
			for _, e := range embedded {
				nextTimes[e.typ]++
			}
			next = append(next, embedded...)
		}
		level, times = next, nextTimes
	}
	slices.SortStableFunc(all, func(a, b structField) int {
		return cmp.Or(strings.Compare(a.name, b.name), len(a.index)-len(b.index), boolCompare(b.tagged, a.tagged))
	})
	var visible []structField
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].name == all[0].name {
			n++
		}
		if n == 1 || len(all[0].index) != len(all[1].index) || all[0].tagged != all[1].tagged {
			visible = append(visible, all[0])
		}
		all = all[n:]
	}
	return visible
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// ownFields returns the fields that are declared in a struct, and the structs that it embeds.
func ownFields(s structField) (fields, embedded []structField) {
	for i := range s.typ.NumField() {
		f := s.typ.Field(i)
		below := f.Type
		if below.Kind() == reflect.Pointer && !isMention(below) {
			below = below.Elem()
		}
		isStruct := below.Kind() == reflect.Struct && !isMention(below)
		tag := f.Tag.Get("json")
		if !f.IsExported() && !(f.Anonymous && isStruct) || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		field := structField{name: name, tagged: isValidName(name), index: append(slices.Clip(s.index), i), typ: f.Type}
		if !field.tagged && f.Anonymous && isStruct {
			field.typ = below
			embedded = append(embedded, field)
			continue
		}
		if !field.tagged {
			field.name = f.Name
		}
		for _, option := range strings.Split(options, ",") {
			field.omitEmpty = field.omitEmpty || option == "omitempty"
			field.omitZero = field.omitZero || option == "omitzero"
			field.quoted = field.quoted || option == "string" && isScalar(f.Type)
		}
		fields = append(fields, field)
	}
	return fields, embedded
}

// isValidName reports whether encoding/json accepts the name of a member in a tag.
func isValidName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// isScalar reports whether the option "string" applies to a field of type t.
func isScalar(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer && t.Name() == "" {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64, reflect.Uintptr,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

// isEmpty reports whether encoding/json omits the value with "omitempty".
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.Array, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

var zeroerType = reflect.TypeFor[interface{ IsZero() bool }]()

// isZero reports whether encoding/json omits the value with "omitzero": its method IsZero returns true, or
// it is the zero value.
func isZero(v reflect.Value) bool {
	switch t := v.Type(); {
	case !reflect.PointerTo(t).Implements(zeroerType) && !t.Implements(zeroerType):
		return v.IsZero()
	case t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer:
		if v.IsNil() || v.Kind() == reflect.Interface && v.Elem().Kind() == reflect.Pointer && v.Elem().IsNil() {
			return true
		}
	case !t.Implements(zeroerType):
		boxed := reflect.New(t)
		boxed.Elem().Set(v)
		v = boxed
	}
	return v.Interface().(interface{ IsZero() bool }).IsZero()
}
