package protocol

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"pix/activity"
	"pix/nixhash"
	"pix/storepath"
)

const (
	// MaxString is the largest length in bytes of a string: a log line, a text, a value
	// of a derivation's environment.
	MaxString = 256 << 20
	// MaxPath is the largest length in bytes of a store path, and of other short strings
	// such as names, hashes and content addresses.
	MaxPath = 64 << 10
	// MaxList is the largest number of elements of a list.
	MaxList = 1 << 26
)

// A codec visits the fields of a value in the order of the wire. An encoding codec writes
// each field, a decoding codec assigns it. Each request and reply lists its fields once,
// in its method code, for both directions. After the first error a codec does nothing.
type codec struct {
	Params
	form     form
	decoding bool
	op       Op     // the operation that is coded, for error messages; 0 for other values
	part     string // the part of the operation, or the name of the other value
	err      error
}

// A form reads or writes primitives. All values consist of them. There are two forms, and two
// implementations of each: the bytes of the wire (binaryEncoder, binaryDecoder) and the text of
// a trace (textEncoder, textDecoder). An encoder writes the given value and returns it. A
// decoder ignores the given value and returns the value that it reads. A trace shows the name
// of the field.
type form interface {
	// isText reports whether this is the form of a trace. Only values that a trace shows
	// with other fields than the wire has need it.
	isText() bool
	// offset returns the position of the next value, for an error message.
	offset() int64
	// locate adds the name and the position of a field to its error. The position is at,
	// or if that is negative, the start of the last value that was read.
	locate(what string, at int64, err error) error

	// number codes a number of at most limit. A trace shows it by its name, if names has one.
	number(field string, n, limit uint64, names namer) (uint64, error)
	// bool codes a bool. On the wire any number except 0 is true.
	bool(field string, b bool) (bool, error)
	// tag codes a bool that can only be 0 or 1 on the wire.
	tag(field string, b bool) (bool, error)
	// optional codes whether a value follows. A trace shows only a missing value.
	optional(field string, present bool) (bool, error)
	// name codes a string of at most limit bytes. A trace shows all of it.
	name(field, s string, limit int) (string, error)
	// string codes a string of at most MaxString bytes. A trace may cut it.
	string(field, s string) (string, error)
	// bytes codes a string of at most MaxString bytes as a new slice. A trace may cut it.
	bytes(field string, b []byte) ([]byte, error)
	// hash codes a SHA-256 in base 16. A decoder accepts every encoding of it.
	hash(field string, h nixhash.Hash) (nixhash.Hash, error)
	// event codes a field of an activity, which is a number or a string.
	event(field string, f activity.Field) (activity.Field, error)

	// hiddenNumber and hiddenName code values that every sender sends the same. A trace omits
	// them.
	hiddenNumber(n, limit uint64) (uint64, error)
	hiddenName(s string) (string, error)

	// openList begins a list of n elements. A decoder fails if it has more than limit.
	openList(field string, n, limit uint64) (listState, error)
	// next reports whether the list has an element i, and prepares for it.
	next(l listState, i uint64) (bool, error)
	closeList(l listState)
}

// A listState is what a form must remember while it codes a list.
type listState struct {
	size     uint64 // the number of elements; in a trace that is read it is the limit
	capacity uint64 // how many elements a decoder may allocate before it reads the first
	outer    string // the label that a trace has omitted before this list
}

func (c *codec) encoding() bool { return !c.decoding }

// what names the value that is coded.
func (c *codec) what() string {
	if c.op == 0 {
		return c.part
	}
	return c.op.String() + " " + c.part
}

// fail records the first error, with the field and the position of the last value.
func (c *codec) fail(field string, err error) { c.failAt(field, -1, err) }

// failAt records the first error, with the field and its offset.
func (c *codec) failAt(field string, at int64, err error) {
	if c.err == nil && err != nil {
		c.err = c.form.locate(c.what()+": "+field, at, err)
	}
}

// assign stores a value that was decoded and records the error. An encoding codec assigns
// nothing: several goroutines may encode the same value.
func assign[T any](c *codec, field string, v *T, got T, err error) {
	if c.decoding {
		*v = got
	}
	if err != nil {
		c.fail(field, err)
	}
}

func (c *codec) uint64(field string, n *uint64) { c.limited(field, n, math.MaxUint64) }

// limited codes a number that is at most limit.
func (c *codec) limited(field string, n *uint64, limit uint64) {
	if c.err == nil {
		got, err := c.form.number(field, *n, limit, nil)
		assign(c, field, n, got, err)
	}
}

// number codes a number of any integer type whose values are 0 to limit.
func number[T integer](c *codec, field string, n *T, limit uint64) {
	if c.err == nil {
		got, err := c.form.number(field, uint64(*n), limit, names[T]{})
		assign(c, field, n, T(got), err)
	}
}

type integer interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
}

// A namer returns the name of a number, or its digits if it has no name.
type namer interface{ nameOf(n uint64) string }

// names is the namer of an integer type: its method String, if it has one.
type names[T integer] struct{}

func (names[T]) nameOf(n uint64) string { return fmt.Sprint(T(n)) }

func (c *codec) bool(field string, b *bool) {
	if c.err == nil {
		got, err := c.form.bool(field, *b)
		assign(c, field, b, got, err)
	}
}

// tag codes a bool that can only be 0 or 1.
func (c *codec) tag(field string, b *bool) {
	if c.err == nil {
		got, err := c.form.tag(field, *b)
		assign(c, field, b, got, err)
	}
}

// optional codes whether a value follows.
func (c *codec) optional(field string, present *bool) {
	if c.err == nil {
		got, err := c.form.optional(field, *present)
		assign(c, field, present, got, err)
	}
}

// obsolete codes a number that has lost its meaning: it is sent as n, and any number is
// accepted.
func (c *codec) obsolete(field string, n uint64) {
	if c.err == nil {
		_, err := c.form.hiddenNumber(n, math.MaxUint64)
		c.fail(field, err)
	}
}

// acknowledged codes the 1 at the end of the reply of operations that return nothing.
func (c *codec) acknowledged() { c.obsolete("acknowledgement", 1) }

// hiddenName codes a string that every sender sends the same, and returns what it is.
func (c *codec) hiddenName(field, s string) string {
	if c.err != nil {
		return s
	}
	got, err := c.form.hiddenName(s)
	c.fail(field, err)
	return got
}

// constant codes a string that must be want.
func (c *codec) constant(field, want string) {
	if got := c.hiddenName(field, want); c.err == nil && got != want {
		c.fail(field, fmt.Errorf("%q instead of %q", got, want))
	}
}

// string codes a string that may be long. A trace may show only its beginning.
func (c *codec) string(field string, s *string) {
	if c.err == nil {
		got, err := c.form.string(field, *s)
		assign(c, field, s, got, err)
	}
}

// name codes a short string. A trace shows all of it.
func (c *codec) name(field string, s *string) { c.limitedName(field, s, MaxPath) }

func (c *codec) limitedName(field string, s *string, limit int) {
	if c.err == nil {
		got, err := c.form.name(field, *s, limit)
		assign(c, field, s, got, err)
	}
}

// bytes codes a string like [codec.string].
func (c *codec) bytes(field string, b *[]byte) {
	if c.err == nil {
		got, err := c.form.bytes(field, *b)
		assign(c, field, b, got, err)
	}
}

// text codes a value as a short string. Only an encoding codec calls print, only a decoding
// one parse.
func text[T any](c *codec, field string, v *T, print func(T) string, parse func(string) (T, error)) {
	var s string
	if c.encoding() {
		s = print(*v)
	}
	c.name(field, &s)
	if c.decoding && c.err == nil {
		got, err := parse(s)
		assign(c, field, v, got, err)
	}
}

// path codes a store path. A path outside the store directory is not sent: the daemon
// would hang up, or read it as something else.
func (c *codec) path(field string, p *storepath.Path) {
	s := string(*p)
	if c.encoding() && c.err == nil {
		_, err := c.Dir.Parse(s)
		c.fail(field, err)
	}
	c.name(field, &s)
	if c.decoding && c.err == nil {
		got, err := c.Dir.Parse(s)
		assign(c, field, p, got, err)
	}
}

// optionalPath codes a path, or "" for none.
func (c *codec) optionalPath(field string, p *storepath.Path) {
	if c.encoding() && *p != "" {
		c.path(field, p)
		return
	}
	var s string
	c.name(field, &s)
	if c.encoding() {
		return
	}
	*p = ""
	if s != "" && c.err == nil {
		got, err := c.Dir.Parse(s)
		assign(c, field, p, got, err)
	}
}

// list codes a list: its length and each element.
func list[T any](c *codec, field string, l *[]T, element func(*T)) {
	limitedList(c, field, l, MaxList, element)
}

// limitedList codes a list of at most limit elements.
func limitedList[T any](c *codec, field string, l *[]T, limit uint64, element func(*T)) {
	if c.decoding {
		decodeList(c, field, l, limit, element)
		return
	}
	if c.err != nil {
		return
	}
	state, err := c.form.openList(field, uint64(len(*l)), limit)
	for i := range *l {
		if err != nil || c.err != nil {
			break
		}
		if _, err = c.form.next(state, uint64(i)); err == nil {
			element(&(*l)[i])
		}
	}
	c.form.closeList(state)
	c.fail(field, err)
}

func decodeList[T any](c *codec, field string, l *[]T, limit uint64, element func(*T)) {
	*l = nil
	if c.err != nil {
		return
	}
	var zero T
	state, err := c.form.openList(field, 0, limit)
	for i := uint64(0); err == nil && c.err == nil; i++ {
		var more bool
		if more, err = c.form.next(state, i); !more {
			break
		}
		if *l == nil {
			*l = make([]T, 0, state.capacity)
		}
		*l = append(*l, zero)
		element(&(*l)[len(*l)-1])
	}
	c.form.closeList(state)
	c.fail(field, err)
}

// asSet returns the elements of s in order, without duplicates. It returns s itself if that is
// a set already.
func asSet[T ~string](s []T) []T {
	if !isSet(s) {
		s = slices.Clone(s)
		slices.Sort(s)
		s = slices.Compact(s)
	}
	return s
}

// isSet reports whether s is sorted and has no duplicates.
func isSet[T ~string](s []T) bool {
	for i := 1; i < len(s); i++ {
		if s[i-1] >= s[i] {
			return false
		}
	}
	return true
}

// set codes a set. Like Nix it sends the elements in order and without duplicates. It
// accepts any order.
func set[T ~string](c *codec, field string, s *[]T, element func(*T)) {
	sorted := *s
	if c.encoding() {
		sorted = asSet(sorted)
	}
	list(c, field, &sorted, element)
	if c.decoding {
		*s = asSet(sorted)
	}
}

func (c *codec) pathSet(field string, paths *[]storepath.Path) {
	set(c, field, paths, func(p *storepath.Path) { c.path(field, p) })
}

func (c *codec) stringSet(field string, s *[]string) {
	set(c, field, s, func(s *string) { c.name(field, s) })
}

// An entry is an element of a map, which is a list on the wire.
type entry[K ~string, V any] struct {
	key   K
	value V
}

// mapping codes a map as a list, sorted by key. It accepts any order. The last of several
// entries with the same key counts.
func mapping[K ~string, V any](c *codec, field string, m *map[K]V, element func(*entry[K, V])) {
	l := make([]entry[K, V], 0, len(*m))
	for _, k := range slices.Sorted(maps.Keys(*m)) {
		l = append(l, entry[K, V]{k, (*m)[k]})
	}
	list(c, field, &l, element)
	if c.encoding() {
		return
	}
	*m = make(map[K]V, len(l))
	for _, e := range l {
		(*m)[e.key] = e.value
	}
}

func (c *codec) stringMap(field string, m *map[string]string) {
	mapping(c, field, m, func(e *entry[string, string]) {
		c.name("name", &e.key)
		c.string("value", &e.value)
	})
}
