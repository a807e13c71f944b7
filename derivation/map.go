package derivation

import (
	"iter"
	"slices"
	"sort"
)

// A Map is a map with text keys that keeps itself sorted by the bytes of its keys,
// as Nix's maps are. It is a sorted slice: iterating is free of allocations and
// always in order, Get searches in logarithmic time, and Set and Delete of a key in
// the middle move what comes after it. The zero value is empty.
//
// A copy of a Map shares its entries with the original; use [Map.Clone] before
// changing one of the two.
type Map[K ~string, V any] struct {
	entries []Entry[K, V]
	source  *source[K, V] // has the entries instead, if it is not nil; a pointer keeps maps small
}

// A source has the entries of a map that was parsed and not changed since. It is
// immutable.
type source[K ~string, V any] interface {
	len() int
	at(i int) (K, V)
	written() (list string, ok bool) // how the entries are printed, if that is known
}

// An Entry is a key of a [Map] with its value.
type Entry[K ~string, V any] struct {
	Key   K
	Value V
}

// MapOf returns the map of these entries. Of entries with one key the last counts.
func MapOf[K ~string, V any](entries ...Entry[K, V]) Map[K, V] {
	entries = slices.Clone(entries)
	slices.Reverse(entries) // sorted stably, the last of one key then comes first
	return Map[K, V]{entries: sortEntries(entries)}
}

// sortEntries sorts in place and keeps the first entry of each key.
func sortEntries[K ~string, V any](entries []Entry[K, V]) []Entry[K, V] {
	// Not by slices.SortStableFunc, which is eight kilobytes of code for each type of entry.
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].Key < entries[j].Key })
	return slices.CompactFunc(entries, func(a, b Entry[K, V]) bool { return a.Key == b.Key })
}

// Len returns the number of entries.
func (m Map[K, V]) Len() int {
	if m.source != nil {
		return (*m.source).len()
	}
	return len(m.entries)
}

// At returns the i-th entry in the order of the keys. It panics if there is none.
func (m Map[K, V]) At(i int) (K, V) {
	if m.source != nil {
		return (*m.source).at(i)
	}
	return m.entries[i].Key, m.entries[i].Value
}

// list returns the entries, which may be the map's own.
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

// written returns how the entries are printed, if that is known.
func (m Map[K, V]) written() (list string, ok bool) {
	if m.source == nil {
		return "", false
	}
	return (*m.source).written()
}

// own makes the map one that can be changed.
func (m *Map[K, V]) own() {
	m.entries, m.source = m.list(), nil
}

// sort sorts what was parsed and is not in order. Of entries with one key the last counts.
func (m *Map[K, V]) sort() {
	m.own()
	slices.Reverse(m.entries) // sorted stably, the last of one key then comes first
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

// Get returns the value of key, and whether there is one.
func (m Map[K, V]) Get(key K) (value V, ok bool) {
	i, ok := m.search(key)
	if ok {
		_, value = m.At(i)
	}
	return value, ok
}

// Has reports whether there is a value of key.
func (m Map[K, V]) Has(key K) bool {
	_, ok := m.search(key)
	return ok
}

// Set gives key that value.
func (m *Map[K, V]) Set(key K, value V) {
	m.own()
	i, ok := m.search(key)
	if ok {
		m.entries[i].Value = value
		return
	}
	m.entries = slices.Insert(m.entries, i, Entry[K, V]{key, value})
}

// Delete removes key, and does nothing where it is missing.
func (m *Map[K, V]) Delete(key K) {
	if i, ok := m.search(key); ok {
		m.own()
		m.entries = slices.Delete(m.entries, i, i+1)
	}
}

// All yields the entries in the order of their keys.
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

// Keys yields the keys in their order.
func (m Map[K, V]) Keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		for i := range m.Len() {
			if key, _ := m.At(i); !yield(key) {
				return
			}
		}
	}
}

// Clone returns a map with entries of its own.
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

// A Set is a set of texts that keeps itself sorted by their bytes. What is said of
// [Map] is true of it too. The zero value is empty.
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

// At returns the i-th key in order. It panics if there is none.
func (s Set[K]) At(i int) K { return s.keys[i] }

// Has reports whether key is in the set.
func (s Set[K]) Has(key K) bool {
	_, ok := slices.BinarySearch(s.keys, key)
	return ok
}

// Add puts key into the set.
func (s *Set[K]) Add(key K) {
	if i, ok := slices.BinarySearch(s.keys, key); !ok {
		s.keys = slices.Insert(s.keys, i, key)
	}
}

// Delete takes key out of the set, and does nothing where it is missing. Sets that share
// their keys with this one keep theirs.
func (s *Set[K]) Delete(key K) {
	if i, ok := slices.BinarySearch(s.keys, key); ok {
		s.keys = slices.Concat(s.keys[:i], s.keys[i+1:])
	}
}

// All yields the keys in order.
func (s Set[K]) All() iter.Seq[K] { return slices.Values(s.keys) }

// Slice returns the keys in order, in a slice of the caller's own; never nil.
func (s Set[K]) Slice() []K { return append(make([]K, 0, len(s.keys)), s.keys...) }

// Equal reports whether both sets have the same keys.
func (s Set[K]) Equal(other Set[K]) bool { return slices.Equal(s.keys, other.keys) }

// Clone returns a set with keys of its own.
func (s Set[K]) Clone() Set[K] { return Set[K]{slices.Clone(s.keys)} }
