package pixpkgs

import (
	"fmt"
	"reflect"
)

// Call returns the package of a recipe that says which packages it needs: in, its
// parameter, is a struct with fields of type [*Lazy], and each gets the package of that
// name in the set. A field of another type gets the field of the set that has its name, or
// else the only one that has its type. In Nix this is callPackage.
//
// So a recipe can live in a package of its own, which knows nothing of the set:
//
//	package curl
//
//	type Needs struct{ Shell, OpenSSL *pixpkgs.Lazy }
//
//	func Recipe(in Needs) pixpkgs.Spec { … }
//
// and stand in any set that has these:
//
//	Curl: pixpkgs.Call(final, curl.Recipe),
//
// That the set has no such package is an error of the package that is called.
func Call[T, In any](final *T, recipe func(in In) Spec) *Lazy {
	return define(func() (Spec, error) {
		var in In
		if err := fill(reflect.ValueOf(&in).Elem(), reflect.ValueOf(final).Elem()); err != nil {
			return Spec{}, err
		}
		return recipe(in), nil
	})
}

// fill gives each field of in its value from the set.
func fill(in, set reflect.Value) error {
	if in.Kind() != reflect.Struct {
		return fmt.Errorf("the parameter of a recipe must be a struct, and is a %s", in.Type())
	}
	for i := range in.NumField() {
		f := in.Type().Field(i)
		value, ok := member(set, f.Name, f.Type)
		if !ok || !f.IsExported() {
			return fmt.Errorf("a recipe needs %s of type %s, and the set has none", f.Name, f.Type)
		}
		in.Field(i).Set(value)
	}
	return nil
}

// member returns the value in a set that has the name and the type, or else, but for
// packages, the only one of that type.
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
