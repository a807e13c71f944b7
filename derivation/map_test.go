package derivation_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"pix/derivation"
)

// A Map behaves like a Go map, but has an order.
func TestMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var m derivation.Map[string, int]
	var s derivation.Set[string]
	want := map[string]int{}
	for i := range 2000 {
		key := strconv.Itoa(random.IntN(100))
		if random.IntN(3) == 0 {
			m.Delete(key)
			s.Delete(key)
			delete(want, key)
		} else {
			m.Set(key, i)
			s.Add(key)
			want[key] = i
		}
		got, ok := m.Get(key)
		if value, there := want[key]; got != value || ok != there || m.Has(key) != there || s.Has(key) != there {
			t.Fatalf("%s is %d, %v, want %d, %v", key, got, ok, value, there)
		}
		if m.Len() != len(want) || s.Len() != len(want) {
			t.Fatalf("%d and %d keys, want %d", m.Len(), s.Len(), len(want))
		}
	}
	keys := slices.Collect(m.Keys())
	if !slices.IsSorted(keys) || !slices.Equal(keys, s.Slice()) || !slices.Equal(keys, slices.Collect(s.All())) {
		t.Errorf("%v", keys)
	}
	i := 0
	for key, value := range m.All() {
		if at, v := m.At(i); at != key || v != value || s.At(i) != key || want[key] != value {
			t.Errorf("%d: %s, %d", i, key, value)
		}
		i++
	}
	for range m.All() {
		break
	}
	for range m.Keys() {
		break
	}
	c, cs := m.Clone(), s.Clone()
	c.Set(keys[0], -1)
	cs.Delete(keys[0])
	if v, _ := m.Get(keys[0]); v == -1 || !s.Has(keys[0]) || cs.Equal(s) {
		t.Error("a clone shares its entries")
	}
}

func TestMapOf(t *testing.T) {
	type entry = derivation.Entry[string, int]
	m := derivation.MapOf(entry{"b", 1}, entry{"a", 2}, entry{"b", 3})
	if v, _ := m.Get("b"); m.Len() != 2 || v != 3 {
		t.Errorf("%v", m)
	}
	if s := derivation.SetOf("b", "a", "b"); !slices.Equal(s.Slice(), []string{"a", "b"}) {
		t.Errorf("%v", s)
	}
	var none derivation.Set[string]
	if none.Slice() == nil {
		t.Error("Slice of an empty set is nil")
	}
}
