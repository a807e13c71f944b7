package derivation

import (
	"cmp"
	"iter"
	"slices"
)

// A Map is a map with string keys, sorted by the bytes of the keys like the maps of Nix. It is a
// sorted slice: iterating does not allocate, Get takes logarithmic time, and Set and Delete take
// linear time. The zero value is an empty map.
//
// A copy of a Map shares its entries with the original. Use [Map.Clone] before changing one of
// them.
type Map[K ~string, V any] struct {
	entries []Entry[K, V]
	source  *source[K, V] // if not nil, it has the entries; it is a pointer to keep maps small
}

// A source is the immutable source of the entries of a parsed map. A map has one until it is
// changed.
type source[K ~string, V any] interface {
	len() int
	at(i int) (K, V)
	verbatim() (list string, ok bool) // the printed form of the entries, if it is known
}

// An Entry is a key of a [Map] with its value.
type Entry[K ~string, V any] struct {
	Key   K
	Value V
}

// MapOf returns the map of these entries. If several entries have the same key, it keeps the last.
func MapOf[K ~string, V any](entries ...Entry[K, V]) Map[K, V] {
	if len(entries) == 0 {
		return Map[K, V]{}
	}
	// slices.Clone would force the caller's slice onto the heap.
	list := append(make([]Entry[K, V], 0, len(entries)), entries...)
	for i := 1; i < len(list); i++ {
		if list[i-1].Key >= list[i].Key {
			slices.Reverse(list) // sortEntries keeps the first entry of each key
			return Map[K, V]{entries: sortEntries(list)}
		}
	}
	return Map[K, V]{entries: list}
}

// sortEntries sorts in place and keeps the first entry of each key.
func sortEntries[K ~string, V any](entries []Entry[K, V]) []Entry[K, V] {
	slices.SortStableFunc(entries, func(a, b Entry[K, V]) int { return cmp.Compare(a.Key, b.Key) })
	return slices.CompactFunc(entries, func(a, b Entry[K, V]) bool { return a.Key == b.Key })
}

// Len returns the number of entries.
func (m Map[K, V]) Len() int {
	if m.source != nil {
		return (*m.source).len()
	}
	return len(m.entries)
}

// At returns the i-th entry in the order of the keys. It panics if i is out of range.
func (m Map[K, V]) At(i int) (K, V) {
	if m.source != nil {
		return (*m.source).at(i)
	}
	return m.entries[i].Key, m.entries[i].Value
}

// list returns the entries, possibly in the slice of the map.
func (m Map[K, V]) list() []Entry[K, V] {
	if m.source == nil {
		return m.entries
	}
	list := make([]Entry[K, V], (*m.source).len())
	for i := range list {
		list[i].Key, list[i].Value = (*m.source).at(i)
	}
	return list
}

// verbatim returns the printed form of the entries, if it is known.
func (m Map[K, V]) verbatim() (list string, ok bool) {
	if m.source == nil {
		return "", false
	}
	return (*m.source).verbatim()
}

// makeMutable copies the entries of the source into the map.
func (m *Map[K, V]) makeMutable() {
	m.entries, m.source = m.list(), nil
}

// sort sorts a parsed map that is not sorted. If several entries have the same key, it keeps the
// last.
func (m *Map[K, V]) sort() {
	m.makeMutable()
	slices.Reverse(m.entries) // sortEntries keeps the first entry of each key
	m.entries = sortEntries(m.entries)
}

func (m Map[K, V]) search(key K) (int, bool) {
	low, high := 0, m.Len()
	for low < high {
		mid := (low + high) / 2
		switch at, _ := m.At(mid); {
		case at < key:
			low = mid + 1
		case at == key:
			return mid, true
		default:
			high = mid
		}
	}
	return low, false
}

// Get returns the value of key, and whether the map has the key.
func (m Map[K, V]) Get(key K) (value V, ok bool) {
	i, ok := m.search(key)
	if ok {
		_, value = m.At(i)
	}
	return value, ok
}

// Has reports whether the map has the key.
func (m Map[K, V]) Has(key K) bool {
	_, ok := m.search(key)
	return ok
}

// Set sets the value of key.
func (m *Map[K, V]) Set(key K, value V) {
	m.makeMutable()
	i, ok := m.search(key)
	if ok {
		m.entries[i].Value = value
		return
	}
	m.entries = slices.Insert(m.entries, i, Entry[K, V]{key, value})
}

// Delete removes key, if the map has it.
func (m *Map[K, V]) Delete(key K) {
	if i, ok := m.search(key); ok {
		m.makeMutable()
		m.entries = slices.Delete(m.entries, i, i+1)
	}
}

// All returns an iterator over the entries in the order of the keys.
func (m Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for i := range m.entries {
			if !yield(m.entries[i].Key, m.entries[i].Value) {
				return
			}
		}
		if m.source != nil {
			source := *m.source
			for i := range source.len() {
				if !yield(source.at(i)) {
					return
				}
			}
		}
	}
}

// Keys returns an iterator over the keys in order.
func (m Map[K, V]) Keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		for i := range m.Len() {
			if key, _ := m.At(i); !yield(key) {
				return
			}
		}
	}
}

// Clone returns a map that does not share its entries with m.
func (m Map[K, V]) Clone() Map[K, V] { return Map[K, V]{entries: slices.Clone(m.list())} }

// equalMaps reports whether a and b have the same entries.
func equalMaps[K ~string, V any](a, b Map[K, V], equal func(V, V) bool) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		keyA, valueA := a.At(i)
		keyB, valueB := b.At(i)
		if keyA != keyB || !equal(valueA, valueB) {
			return false
		}
	}
	return true
}

// A Set is a set of strings, sorted by their bytes. Like a [Map] it is a sorted slice, and a copy
// shares the slice with the original. The zero value is an empty set.
type Set[K ~string] struct {
	keys []K
}

// SetOf returns the set of these keys.
func SetOf[K ~string](keys ...K) Set[K] {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	return Set[K]{slices.Compact(keys)}
}

// Len returns the number of keys.
func (s Set[K]) Len() int { return len(s.keys) }

// At returns the i-th key in order. It panics if i is out of range.
func (s Set[K]) At(i int) K { return s.keys[i] }

// Has reports whether key is in the set.
func (s Set[K]) Has(key K) bool {
	_, ok := slices.BinarySearch(s.keys, key)
	return ok
}

// Add adds key to the set.
func (s *Set[K]) Add(key K) {
	if i, ok := slices.BinarySearch(s.keys, key); !ok {
		s.keys = slices.Insert(s.keys, i, key)
	}
}

// Delete removes key, if the set has it. It does not change sets that share their keys with this
// one.
func (s *Set[K]) Delete(key K) {
	if i, ok := slices.BinarySearch(s.keys, key); ok {
		s.keys = slices.Concat(s.keys[:i], s.keys[i+1:])
	}
}

// All returns an iterator over the keys in order.
func (s Set[K]) All() iter.Seq[K] { return slices.Values(s.keys) }

// Slice returns the keys in order in a new slice, which is never nil.
func (s Set[K]) Slice() []K { return append(make([]K, 0, len(s.keys)), s.keys...) }

// Equal reports whether both sets have the same keys.
func (s Set[K]) Equal(other Set[K]) bool { return slices.Equal(s.keys, other.keys) }

// Clone returns a set that does not share its keys with s.
func (s Set[K]) Clone() Set[K] { return Set[K]{slices.Clone(s.keys)} }
