package pixpkgs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Fix creates a set of packages that can refer to each other, and applies overlays to it.
//
// T is a struct with a field of type [*Lazy] for each package, or a map[string]*Lazy. Fix calls base
// once to fill it. The parameter final is the final set. It is empty while base runs, and complete when
// the recipes run:
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
// Each overlay receives the final set, and the set below the overlay. It returns a new set, often a
// changed copy of the latter:
//
//	func static(final, prev *Tools) Tools {
//		next := *prev
//		next.Shell = prev.Shell.Override(func(s *pixpkgs.Spec) { … })
//		return next
//	}
//
// hello uses final.Shell, so it is built with the changed shell. An overlay must take the packages that
// it changes from prev: with final.Shell, the shell would depend on itself, which is an error.
//
// The error says which package of the set is missing, or that T is not a set. Fix ignores fields of
// other types, including structs in T.
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

// copyMap returns a copy of a set that is a map. An overlay that changes its map must not change the
// set below it.
func copyMap[T any](set T) T {
	from := reflect.ValueOf(set)
	to := reflect.MakeMapWithSize(from.Type(), from.Len())
	for key, value := range from.Seq2() {
		to.SetMapIndex(key, value)
	}
	return to.Interface().(T)
}

// label sets the names of all packages of a set.
func label(set any) error {
	fields, err := fieldsOf(reflect.ValueOf(set).Elem())
	if err != nil {
		return err
	}
	for _, f := range fields {
		if f.lazy == nil {
			return fmt.Errorf("package %q of the set is nil: it was not defined, or taken from the final set before that was complete", f.name)
		}
		f.lazy.name.CompareAndSwap(nil, &f.name)
	}
	return nil
}

// A field is a package of a set with its name.
type field struct {
	name string
	lazy *Lazy
}

var lazyType = reflect.TypeFor[*Lazy]()

// fieldsOf returns the packages of a set, sorted by name for a map, and otherwise in the order of the
// fields.
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
		return nil, fmt.Errorf("a %s is not a set of packages: it must be a struct with fields of type *pixpkgs.Lazy, or a map of them", set.Type())
	}
	return fields, nil
}

// All derives all packages of a set and returns them by name. It returns the error of the first package
// that cannot be derived; see [Lazy.Package].
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

// Call returns the package of a recipe that declares the packages it needs. The parameter in of the
// recipe is a struct. Each field of type [*Lazy] gets the package with its name in the set. A field of
// another type gets the field of the set with its name, or else the only field with its type. In Nix
// this is callPackage.
//
// So a recipe can be in a Go package of its own, which does not know the set:
//
//	package curl
//
//	type Needs struct{ Shell, OpenSSL *pixpkgs.Lazy }
//
//	func Recipe(in Needs) pixpkgs.Spec { … }
//
// and can be used in any set that has these packages:
//
//	Curl: pixpkgs.Call(final, curl.Recipe),
//
// If the set does not have such a package, deriving the called package fails.
func Call[T, In any](final *T, recipe func(in In) Spec) *Lazy {
	return define(func() (Spec, error) {
		var in In
		if err := fill(reflect.ValueOf(&in).Elem(), reflect.ValueOf(final).Elem()); err != nil {
			return Spec{}, err
		}
		return recipe(in), nil
	})
}

// fill sets each field of in from the set.
func fill(in, set reflect.Value) error {
	if in.Kind() != reflect.Struct {
		return fmt.Errorf("the parameter of a recipe must be a struct, not a %s", in.Type())
	}
	for i := range in.NumField() {
		f := in.Type().Field(i)
		value, ok := member(set, f.Name, f.Type)
		if !ok || !f.IsExported() {
			return fmt.Errorf("a recipe needs %s of type %s, which the set does not have", f.Name, f.Type)
		}
		in.Field(i).Set(value)
	}
	return nil
}

// member returns the value in a set with the given name and type. If there is none, and the type is not
// *Lazy, it returns the only value with that type.
func member(set reflect.Value, name string, t reflect.Type) (value reflect.Value, ok bool) {
	if set.Kind() == reflect.Map {
		value = set.MapIndex(reflect.ValueOf(name).Convert(set.Type().Key()))
		return value, value.IsValid() && value.Type() == t
	}
	if f, ok := set.Type().FieldByName(name); ok && f.Type == t {
		return set.FieldByIndex(f.Index), true
	}
	found := 0
	for _, f := range reflect.VisibleFields(set.Type()) {
		if f.Type == t && t != lazyType && f.IsExported() {
			value = set.FieldByIndex(f.Index)
			found++
		}
	}
	return value, found == 1
}
