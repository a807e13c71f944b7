package pixpkgs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Fix makes a set of packages that know each other, and applies overlays to it.
//
// T is a struct with a field of type [*Lazy] for each package, or a map[string]*Lazy. The
// base fills it. It is called once, with the set as it will be at the end; what it gets
// is still empty then, and complete when the recipes are called:
//
//	type Tools struct{ Shell, Hello *pixpkgs.Lazy }
//
//	func tools(final *Tools) Tools {
//		return Tools{
//			Shell: pixpkgs.Define(func() pixpkgs.Spec { … }),
//			Hello: pixpkgs.Define(func() pixpkgs.Spec {
//				return pixpkgs.Spec{Name: "hello", Builder: final.Shell.Path("bin/sh"), …}
//			}),
//		}
//	}
//
// Each overlay gets the set as it will be at the end and the set as it is below the
// overlay, and returns what it makes of that, which is often a changed copy:
//
//	func static(final, prev *Tools) Tools {
//		next := *prev
//		next.Shell = prev.Shell.Override(func(s *pixpkgs.Spec) { … })
//		return next
//	}
//
// As hello uses final.Shell, it is built with the changed shell. What an overlay changes
// it takes from prev: final.Shell would be itself, which is a cycle, and an error.
//
// The error says which package of the set is missing, or that T is no set. Fields of
// other types are left alone, and so are those of structs in T, which are not part of
// the set.
func Fix[T any](base func(final *T) T, overlays ...func(final, prev *T) T) (*T, error) {
	final := new(T)
	set := base(final)
	if err := label(&set); err != nil {
		return nil, err
	}
	for _, overlay := range overlays {
		prev := set
		if reflect.TypeFor[T]().Kind() == reflect.Map {
			prev = copyMap(set)
		}
		set = overlay(final, &prev)
		if err := label(&set); err != nil {
			return nil, err
		}
	}
	*final = set
	return final, nil
}

// copyMap returns a copy of a set that is a map, so that an overlay that changes the map
// that it returns does not change what lies below it.
func copyMap[T any](set T) T {
	from := reflect.ValueOf(set)
	to := reflect.MakeMapWithSize(from.Type(), from.Len())
	for key, value := range from.Seq2() {
		to.SetMapIndex(key, value)
	}
	return to.Interface().(T)
}

// label gives all packages of a set their names.
func label(set any) error {
	fields, err := fieldsOf(reflect.ValueOf(set).Elem())
	if err != nil {
		return err
	}
	for _, f := range fields {
		if f.lazy == nil {
			return fmt.Errorf("package %q of the set is nil: it was not defined, or taken from the final set while that was made", f.name)
		}
		f.lazy.name.CompareAndSwap(nil, &f.name)
	}
	return nil
}

// A field is a package of a set under its name.
type field struct {
	name string
	lazy *Lazy
}

var lazyType = reflect.TypeFor[*Lazy]()

// fieldsOf returns the packages of a set, sorted by their names in a map, else in the order
// of the fields.
func fieldsOf(set reflect.Value) (fields []field, err error) {
	switch {
	case set.Kind() == reflect.Struct:
		for _, f := range reflect.VisibleFields(set.Type()) {
			if f.Type == lazyType && f.IsExported() {
				fields = append(fields, field{f.Name, set.FieldByIndex(f.Index).Interface().(*Lazy)})
			}
		}
	case set.Kind() == reflect.Map && set.Type().Key().Kind() == reflect.String && set.Type().Elem() == lazyType:
		for key, value := range set.Seq2() {
			fields = append(fields, field{key.String(), value.Interface().(*Lazy)})
		}
		slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	default:
		return nil, fmt.Errorf("a %s is no set of packages: it must be a struct with fields of type *pixpkgs.Lazy, or a map of them", set.Type())
	}
	return fields, nil
}

// All returns the packages of a set by their names, each derived, with all that they need.
// The error is that of the first that cannot be derived; see [Lazy.Package].
func All[T any](set *T) (map[string]*Package, error) {
	fields, err := fieldsOf(reflect.ValueOf(set).Elem())
	if err != nil {
		return nil, err
	}
	all := make(map[string]*Package, len(fields))
	for _, f := range fields {
		if all[f.name], err = f.lazy.Package(); err != nil {
			return nil, err
		}
	}
	return all, nil
}
