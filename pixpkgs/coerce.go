package pixpkgs

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// mention returns a String that mentions v if v can be a dependency.
func mention(v any) (String, bool) {
	if s, ok := v.(String); ok {
		return s, true
	}
	p, err, ok := partOf(v)
	if !ok || err != nil {
		return String{err: err}, ok
	}
	return String{parts: []part{p}}, true
}

// partOf returns a part that mentions v if v is a package or an object.
func partOf(v any) (p part, err error, ok bool) {
	switch v := v.(type) {
	case *Package:
		if v == nil {
			return p, errNilPackage, true
		}
		return part{kind: outputPart, pkg: v, text: v.outputs[0].name}, nil, true
	case *Lazy:
		if v == nil {
			return p, errNilLazy, true
		}
		return part{kind: outputPart, lazy: v}, nil, true
	case *Object:
		if v == nil {
			return p, fmt.Errorf("an *Object is nil"), true
		}
		return part{kind: objectPart, object: v}, nil, true
	}
	return p, nil, false
}

// coerce returns the text of a value in an argument or variable, as Nix does
// (EvalState::coerceToString with coerceMore).
func coerce(v any) String {
	if s, ok := mention(v); ok {
		return s
	}
	switch v := v.(type) {
	case nil:
		return String{}
	case string:
		return literal(v)
	case []byte:
		return literal(string(v))
	case []string:
		return literal(strings.Join(v, " "))
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.String:
		return literal(r.String())
	case reflect.Bool:
		if r.Bool() {
			return literal("1")
		}
		return String{}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return literal(strconv.FormatInt(r.Int(), 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return literal(strconv.FormatUint(r.Uint(), 10))
	case reflect.Float32, reflect.Float64:
		return literal(floatText(r.Float()))
	case reflect.Slice, reflect.Array:
		return coerceList(r)
	default:
		return String{err: fmt.Errorf("cannot convert a value of type %T to text: only strings, packages, outputs, sources, numbers, booleans and slices are allowed", v)}
	}
}

// floatText returns the text of a float as std::to_string does.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f) && math.Signbit(f):
		return "-nan"
	case math.IsNaN(f):
		return "nan"
	}
	return strconv.FormatFloat(f, 'f', 6, 64)
}

// coerceList joins the elements with spaces. As in Nix, no space follows an element that is an empty
// list.
func coerceList(list reflect.Value) String {
	s := String{parts: make([]part, 0, max(0, 2*list.Len()-1))}
	for i := range list.Len() {
		element := list.Index(i).Interface()
		if p, err, ok := partOf(element); ok && err == nil {
			s.parts = append(s.parts, p)
		} else {
			s.add(coerce(element))
		}
		if i < list.Len()-1 && !isEmptyList(element) {
			s.addText(" ")
		}
	}
	return s
}

func isEmptyList(v any) bool {
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Slice && r.Len() == 0 && r.Type().Elem().Kind() != reflect.Uint8
}
