package pixpkgs_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pix/derivation"
	"pix/nixhash"
	"pix/pixpkgs"
)

// Types whose methods have pointer receivers, so they count only for values that have an address.
type (
	pointerJSON struct{ A int }
	pointerText struct{ A int }
	textKey     int
	named       string
	bytes8      []uint8
	Inner       struct {
		Shared, OnlyInner int
		Tagged            int `json:"Shadow"`
	}
	Other  struct{ Shared, OnlyOther int }
	Twice  struct{ Inner }
	hidden struct {
		Exported int
		secret   int
	}
	Shadow struct {
		Inner
		Other
		Shadow int
	}
	zeroer struct{ N int }
)

func (*pointerJSON) MarshalJSON() ([]byte, error) { return []byte(`{"from": ["json", 1.50]}`), nil }
func (*pointerText) MarshalText() ([]byte, error) { return []byte("<text>"), nil }
func (k textKey) MarshalText() ([]byte, error)    { return fmt.Appendf(nil, "key %d", int(k)), nil }
func (z *zeroer) IsZero() bool                    { return z.N == 7 }

// jsonValues are values for which encoding/json has special rules. A float without fraction is not among
// them: as in Nix it has one in JSON.
func jsonValues() map[string]any {
	third, text := float32(1)/3, "text"
	return map[string]any{
		"float32":          []float32{0.1, third, 1677.25, 3e38, 1e-10, 0.5},
		"float64":          []float64{0.1, 1e21, 1e-7, 5.5, math.MaxFloat64, math.SmallestNonzeroFloat64},
		"bytes":            []any{[]byte("bytes"), []byte{}, []byte(nil), bytes8{1, 2}, [2]byte{1, 2}, []textKey{1}},
		"nil":              []any{nil, []int(nil), map[string]int(nil), (*int)(nil), (*pointerJSON)(nil), (*time.Time)(nil), (any)(nil)},
		"empty":            []any{[]int{}, map[string]int{}, struct{}{}, ""},
		"pointer receiver": []any{pointerJSON{}, &pointerJSON{}, []pointerJSON{{}}, map[string]pointerJSON{"a": {}}, struct{ P pointerJSON }{}, &struct{ P pointerJSON }{}, [1]pointerText{}, &[1]pointerText{}, []pointerText{{}}},
		"keys":             []any{map[int]string{-1: "a", 2: "b"}, map[uint8]int{3: 4}, map[textKey]int{5: 6}, map[named]int{"n": 1}, map[*textKey]int{nil: 1}},
		"quoted": struct {
			I int         `json:",string"`
			U *uint       `json:"u,string"`
			F float32     `json:",string"`
			B bool        `json:",string"`
			S string      `json:",string"`
			P *string     `json:",string"`
			M textKey     `json:",string"`
			L []int       `json:",string"`
			N []string    `json:",omitempty,string"`
			Z int         `json:",string,omitzero"`
			J json.Number `json:",string"`
		}{I: -1, F: third, B: true, S: `<"q">`, P: &text, L: []int{1}, J: "1.0"},
		"shadowed": Shadow{Inner{1, 2, 3}, Other{4, 5}, 6},
		"twice": struct {
			Twice
			*Inner
			Other
		}{Twice{Inner{1, 2, 3}}, nil, Other{4, 5}},
		"deep twice": struct {
			A struct{ Twice }
			Twice
		}{},
		"embedded": struct {
			hidden
			*Other
			named
			Named int `json:"Exported2"`
		}{hidden{1, 2}, nil, "n", 3},
		"tagged": struct {
			Inner  `json:"inner"`
			hidden `json:"h"`
		}{},
		"tags": struct {
			A int `json:"-,"`
			B int `json:"-"`
			C int `json:"bad\"name"`
			D int `json:"%$ ok"`
			É int
		}{1, 2, 3, 4, 5},
		"omitempty": struct {
			A any      `json:",omitempty"`
			B *int     `json:",omitempty"`
			C [0]int   `json:",omitempty"`
			D struct{} `json:",omitempty"`
			E float64  `json:",omitempty"`
		}{},
		"omitzero": struct {
			T time.Time       `json:",omitzero"`
			Z zeroer          `json:",omitzero"`
			P *zeroer         `json:",omitzero"`
			A any             `json:",omitzero"`
			D struct{ X int } `json:",omitzero"`
		}{Z: zeroer{7}, P: &zeroer{7}, A: time.Time{}},
		"numbers":    []json.Number{"", "1", "-0", "1.0", "1e2", "18446744073709551615", "18446744073709551616", "-9223372036854775809"},
		"raw":        json.RawMessage(`{"b": [1, 2.5, 1e2, 18446744073709551615, "\u00e9<\/"], "a": null}`),
		"integers":   []any{uint64(1 << 63), int8(-1), uintptr(5), int64(math.MinInt64)},
		"marshalers": []any{time.Unix(0, 0).UTC(), nixhash.Sum(nixhash.MD5, nil), json.Marshaler(&pointerJSON{}), struct{ T *time.Time }{}},
		"interfaces": []fmt.Stringer{nil, time.Second, (*time.Time)(nil)},
		"HTML":       "<a href=\"x\">&\u2028</a>",
	}
}

// attribute returns the JSON of a derivation with one attribute.
func attribute(t *testing.T, v any) string {
	t.Helper()
	p := mk(t, spec{Name: "s", Attrs: env{"v": v}})
	text, _ := p.Derivation().Env.Get(derivation.StructuredAttrsKey)
	return text
}

// checkJSON compares the JSON of an attribute with what encoding/json writes for it.
func checkJSON(t *testing.T, v any) {
	t.Helper()
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := attribute(t, v), attribute(t, json.RawMessage(want)); got != want {
		t.Errorf("%T is %s\ninstead of %s", v, got, want)
	}
}

// Structured attributes follow the rules of encoding/json.
func TestAttrsAsJSON(t *testing.T) {
	for name, v := range jsonValues() {
		t.Run(name, func(t *testing.T) {
			checkJSON(t, v)
			if r := reflect.New(reflect.TypeOf(v)); r.Elem().CanSet() { // the same value with an address
				r.Elem().Set(reflect.ValueOf(v))
				checkJSON(t, r.Interface())
			}
		})
	}
}

// randomType returns a struct type with embedded structs, and fields that hide each other.
func randomType(r *rand.Rand, depth int) reflect.Type {
	leaves := []reflect.Type{
		reflect.TypeFor[int](), reflect.TypeFor[*bool](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[uint8](),
		reflect.TypeFor[any](), reflect.TypeFor[map[int]string](), reflect.TypeFor[pointerText](), reflect.TypeFor[Inner](), reflect.TypeFor[*Other](),
	}
	tags := []string{"", "", `json:"A"`, `json:"B,omitempty"`, `json:",string"`, `json:",omitzero"`, `json:"-"`, `json:"a b"`}
	var fields []reflect.StructField
	for _, name := range []string{"A", "B", "C", "D"} {
		f := reflect.StructField{Name: name, Type: leaves[r.IntN(len(leaves))], Tag: reflect.StructTag(tags[r.IntN(len(tags))])}
		if depth > 0 && r.IntN(2) == 0 {
			f.Type, f.Anonymous = randomType(r, depth-1), true
			if r.IntN(4) == 0 {
				f.Type, f.Anonymous = reflect.PointerTo(f.Type), false
			}
		}
		fields = append(fields, f)
	}
	return reflect.StructOf(fields)
}

// fill sets some of the fields of v.
func fill(r *rand.Rand, v reflect.Value) {
	if r.IntN(4) == 0 {
		return
	}
	switch v.Kind() {
	case reflect.Int:
		v.SetInt(int64(r.IntN(100)))
	case reflect.Uint8:
		v.SetUint(uint64(r.IntN(256)))
	case reflect.String:
		v.SetString(fmt.Sprint(r.IntN(100)))
	case reflect.Slice:
		v.SetBytes([]byte{byte(r.IntN(256)), 1})
	case reflect.Map:
		v.Set(reflect.ValueOf(map[int]string{r.IntN(9): "x"}))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i))
		}
	}
}

func TestRandomAttrsAsJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		v := reflect.New(randomType(r, 2))
		fill(r, v.Elem())
		checkJSON(t, v.Interface())
		checkJSON(t, v.Elem().Interface())
		if t.Failed() {
			return
		}
	}
}

// Packages are mentions at any depth, whatever holds them.
func TestMentionsInAttrs(t *testing.T) {
	type nested struct {
		*pixpkgs.Package
		Text   pixpkgs.String
		Values map[int]any `json:",omitempty"`
	}
	d := dep(t)
	p := mk(t, spec{Name: "s", Attrs: &nested{d, d.Path("bin"), map[int]any{1: [1]*pixpkgs.Package{d}}}})
	got, _ := p.Derivation().Env.Get(derivation.StructuredAttrsKey)
	want := fmt.Sprintf(`{"Package":"%s","Text":"%[1]s/bin","Values":{"1":["%[1]s"]},"builder":"/bin/sh","name":"s","system":"x86_64-linux"}`, d)
	if got != want || len(p.Dependencies()) != 1 {
		t.Errorf("%s instead of %s, with dependencies %v", got, want, p.Dependencies())
	}
}

// Floats in variables have the text of Nix, also if they are not finite.
func TestFloatVariables(t *testing.T) {
	p := mk(t, spec{Name: "f", Env: env{"f": list{math.Inf(1), math.Inf(-1), math.NaN(), float32(0.1), 1e20}}})
	if got, _ := p.Derivation().Env.Get("f"); got != "inf -inf nan 0.100000 100000000000000000000.000000" {
		t.Errorf("the variable is %q", got)
	}
}
