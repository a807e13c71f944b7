package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"pix/nixhash"
	"pix/storepath"
	"pix/wire"
)

const (
	// MaxString is the length in bytes of the longest string that is taken: a log line,
	// a text, a value of a derivation's environment.
	MaxString = 256 << 20
	// MaxPath is the length in bytes of the longest store path that is taken, and of
	// other texts that are never long, such as names, hashes and content addresses.
	MaxPath = 64 << 10
	// MaxList is the number of elements of the longest list that is taken.
	MaxList = 1 << 26
)

// A codec goes through the fields of a value in the order of the wire. Encoding, it
// appends them to out; decoding, it reads them from in and assigns them. With a trace it
// does the same with a text for people. After the first error it does nothing more.
type codec struct {
	Params
	out   []byte
	trace *trace       // nil unless a text is written or read
	in    *wire.Reader // nil unless decoding
	op    Op           // what is being coded, for errors: a part of an operation,
	part  string       // or, where op is 0, something else
	err   error
}

// encoding reports whether values are taken from their variables, as for writing a trace;
// else they are assigned to them.
func (c *codec) encoding() bool { return c.in == nil && !c.reading() }

// what names what is being coded.
func (c *codec) what() string {
	if c.op == 0 {
		return c.part
	}
	return c.op.String() + " " + c.part
}

// fail keeps the first error, with the name of the field and the offset at which the
// field began. In a trace that is read it is where the last value began.
func (c *codec) fail(field string, offset int64, err error) {
	if c.err != nil || err == nil {
		return
	}
	if c.reading() {
		c.err = &TraceError{Column: c.trace.mark + 1, What: c.what() + ": " + field, Err: err}
		return
	}
	var unsupported *UnsupportedError
	if errors.As(err, &unsupported) {
		c.err = err
		return
	}
	if c.encoding() {
		offset = -1
	}
	var w *wire.Error
	if errors.As(err, &w) { // it knows better where, and its message says so
		offset = -1
	}
	c.err = &Error{What: c.what() + ": " + field, Offset: offset, Err: err}
}

func (c *codec) offset() int64 {
	if c.in == nil {
		return -1
	}
	return c.in.Offset()
}

func (c *codec) uint64(field string, n *uint64) { c.limited(field, n, math.MaxUint64) }

// limited codes a number that is at most limit.
func (c *codec) limited(field string, n *uint64, limit uint64) {
	switch {
	case c.err != nil:
	case c.encoding() && *n > limit:
		c.fail(field, -1, fmt.Errorf("%d is more than the limit of %d", *n, limit))
	case c.trace != nil:
		traced(c, field, n, printUint64, parseLimited(limit))
	case c.encoding():
		c.out = wire.AppendUint64(c.out, *n)
	default:
		at := c.in.Offset()
		got, err := c.in.Limited("a number", limit)
		*n = got
		c.fail(field, at, inside(err))
	}
}

// inside makes the end of the stream an error: a value was expected.
func inside(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// number codes a number of any integer type whose values are 0 to limit.
func number[T ~uint8 | ~uint16 | ~uint32 | ~uint64](c *codec, field string, n *T, limit uint64) {
	wide := uint64(*n)
	if c.trace != nil && c.err == nil && (c.reading() || wide <= limit) {
		traced(c, field, n, func(n T) string { return fmt.Sprint(n) }, parseNumber[T](limit)) // by its name, if it has one
		return
	}
	c.limited(field, &wide, limit)
	if !c.encoding() {
		*n = T(wide)
	}
}

func (c *codec) bool(field string, b *bool) {
	if c.trace != nil && c.err == nil {
		traced(c, field, b, strconv.FormatBool, parseBool)
		return
	}
	var n uint64
	if *b {
		n = 1
	}
	c.uint64(field, &n)
	if !c.encoding() {
		*b = n != 0
	}
}

// obsolete codes a number that nobody reads any more: sent as n, received as anything.
func (c *codec) obsolete(field string, n uint64) {
	if c.trace == nil {
		c.uint64(field, &n)
	}
}

// acknowledged codes the 1 that ends the replies of operations that return nothing.
func (c *codec) acknowledged() { c.obsolete("acknowledgement", 1) }

// string codes a string that may be long. A trace shows only its beginning.
func (c *codec) string(field string, s *string) {
	if c.trace != nil && c.err == nil {
		c.traceText(field, s)
		return
	}
	c.limitedString(field, s, MaxString)
}

// name codes a string that is never long, and is shown whole.
func (c *codec) name(field string, s *string) { c.limitedString(field, s, MaxPath) }

func (c *codec) limitedString(field string, s *string, limit int) {
	switch {
	case c.err != nil:
	case c.encoding() && len(*s) > limit:
		c.fail(field, -1, fmt.Errorf("%d bytes are more than the limit of %d", len(*s), limit))
	case c.reading():
		*s = c.take(field)
	case c.trace != nil:
		c.show(field, quote(*s))
	case c.encoding():
		c.out = wire.AppendString(c.out, *s)
	default:
		at := c.in.Offset()
		got, err := c.in.String(limit)
		*s = got
		c.fail(field, at, inside(err))
	}
}

// bytes codes a string like [codec.string].
func (c *codec) bytes(field string, b *[]byte) {
	if c.in == nil {
		s := string(*b)
		if c.string(field, &s); c.reading() {
			*b = []byte(s)
		}
		return
	}
	if c.err != nil {
		return
	}
	at := c.in.Offset()
	got, err := c.in.Bytes(MaxString)
	*b = slices.Clone(got)
	c.fail(field, at, inside(err))
}

// text codes a value through its spelling, which is never long. parse is not called when
// encoding.
func text[T any](c *codec, field string, v *T, print func(T) string, parse func(string) (T, error)) {
	var s string
	if c.encoding() {
		s = print(*v)
	}
	at := c.offset()
	c.name(field, &s)
	if c.encoding() || c.err != nil {
		return
	}
	got, err := parse(s)
	*v = got
	c.fail(field, at, err)
}

// path codes a store path. What is no path of the store directory is not sent: the daemon
// would hang up, or take it for something else.
func (c *codec) path(field string, p *storepath.Path) {
	if c.err != nil {
		return
	}
	if c.encoding() {
		s := string(*p)
		_, err := c.Dir.Parse(s)
		c.fail(field, -1, err)
		c.name(field, &s)
		return
	}
	var s string
	at := c.offset()
	if c.name(field, &s); c.err == nil {
		got, err := c.Dir.Parse(s)
		*p = got
		c.fail(field, at, err)
	}
}

// optionalPath codes a path, or "" for none.
func (c *codec) optionalPath(field string, p *storepath.Path) {
	if c.encoding() {
		if *p != "" {
			c.path(field, p)
			return
		}
		var none string
		c.name(field, &none)
		return
	}
	var s string
	at := c.offset()
	if c.name(field, &s); c.err == nil && s != "" {
		got, err := c.Dir.Parse(s)
		*p = got
		c.fail(field, at, err)
		return
	}
	*p = ""
}

// list codes a list: its length and each element.
func list[T any](c *codec, field string, l *[]T, element func(*T)) {
	limitedList(c, field, l, MaxList, element)
}

// limitedList codes a list of at most limit elements.
func limitedList[T any](c *codec, field string, l *[]T, limit uint64, element func(*T)) {
	if c.reading() {
		takeList(c, field, l, limit, element)
		return
	}
	if c.trace != nil {
		c.showList(field, len(*l), func(i int) { element(&(*l)[i]) })
		return
	}
	n := uint64(len(*l))
	c.limited(field, &n, limit)
	if c.encoding() {
		for i := range *l {
			element(&(*l)[i])
		}
		return
	}
	*l = nil
	if c.err != nil || n == 0 {
		return
	}
	*l = make([]T, 0, min(n, c.room()))
	var zero T
	for range n {
		if c.err != nil {
			return
		}
		*l = append(*l, zero)
		element(&(*l)[len(*l)-1])
	}
}

// room returns how many elements of a list get room before any has come: not many more
// than are in the buffer already, for each takes a word at least.
func (c *codec) room() uint64 {
	const least, most = 8, 1024
	return uint64(min(least+c.in.Buffered()/wire.WordSize, most))
}

// asSet returns the elements of s sorted, each once; s itself if it is so already.
func asSet[T ~string](s []T) []T {
	if !isSet(s) {
		s = slices.Clone(s)
		slices.Sort(s)
		s = slices.Compact(s)
	}
	return s
}

// isSet reports whether s is sorted and has no element twice.
func isSet[T ~string](s []T) bool {
	for i := 1; i < len(s); i++ {
		if s[i-1] >= s[i] {
			return false
		}
	}
	return true
}

// set codes a set: sorted, each element once, as Nix sends it. It may come in any order.
func set[T ~string](c *codec, field string, s *[]T, element func(*T)) {
	sorted := *s
	if c.encoding() {
		sorted = asSet(sorted)
	}
	list(c, field, &sorted, element)
	if !c.encoding() {
		*s = asSet(sorted)
	}
}

func (c *codec) pathSet(field string, paths *[]storepath.Path) {
	set(c, field, paths, func(p *storepath.Path) { c.path(field, p) })
}

func (c *codec) stringSet(field string, s *[]string) {
	set(c, field, s, func(s *string) { c.name(field, s) })
}

// An entry is an element of a map, which the wire has as a list.
type entry[K ~string, V any] struct {
	key   K
	value V
}

// mapping codes a map: a list, sorted by key. It may come in any order; of entries with
// the same key, the last counts.
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

// narHash codes a SHA-256 in base 16 without its name; read, it may have any spelling.
func (c *codec) narHash(field string, h *nixhash.Hash) {
	if c.encoding() && c.err == nil && h.Algorithm() != nixhash.SHA256 {
		c.fail(field, -1, errors.New("a NAR hash is a SHA-256"))
		return
	}
	if c.trace != nil {
		traced(c, field, h, nixhash.Hash.Base16, parseNARHash)
		return
	}
	if c.err != nil {
		return
	}
	if c.encoding() {
		c.out = wire.AppendUint64(c.out, 2*sha256.Size) // a multiple of a word: nothing is padded
		c.out = h.AppendBase16(c.out)
		return
	}
	at := c.in.Offset()
	b, err := c.in.Bytes(MaxPath)
	if c.fail(field, at, inside(err)); c.err != nil {
		return
	}
	var digest [sha256.Size]byte
	if len(b) == 2*len(digest) { // as daemons send it
		if _, err := hex.Decode(digest[:], b); err == nil {
			*h = nixhash.SHA256Hash(digest)
			return
		}
	}
	got, err := parseNARHash(string(b))
	*h = got
	c.fail(field, at, err)
}

func parseNARHash(s string) (nixhash.Hash, error) { return nixhash.ParseAny(s, nixhash.SHA256) }

// optionalContentAddress codes a content address, or "" for none.
func (c *codec) optionalContentAddress(field string, ca *storepath.ContentAddress) {
	text(c, field, ca, storepath.ContentAddress.String, func(s string) (storepath.ContentAddress, error) {
		if s == "" {
			return storepath.ContentAddress{}, nil
		}
		return storepath.ParseContentAddress(s)
	})
}

// time codes whole seconds since 1970, where 0 is unknown.
func (c *codec) time(field string, t *time.Time) {
	var n uint64
	if c.encoding() && !t.IsZero() {
		n = uint64(t.Unix())
	}
	c.limited(field, &n, math.MaxInt64)
	if !c.encoding() {
		*t = time.Time{}
		if n != 0 {
			*t = time.Unix(int64(n), 0).UTC()
		}
	}
}

// optionalDuration codes microseconds, or none.
func (c *codec) optionalDuration(field string, d **time.Duration) {
	have := *d != nil
	c.optional(field, &have)
	var micros uint64
	if c.encoding() && have {
		micros = uint64((*d).Microseconds())
	}
	if have {
		c.limited(field, &micros, math.MaxInt64/uint64(time.Microsecond))
	}
	if !c.encoding() {
		*d = nil
		if have && c.err == nil {
			took := time.Duration(micros) * time.Microsecond
			*d = &took
		}
	}
}

// optional codes whether a value follows: 1, or 0. A trace shows only that none does.
func (c *codec) optional(field string, have *bool) {
	switch {
	case c.reading():
		*have = !c.none(field)
	case c.trace == nil:
		c.tag(field, have)
	case !*have && c.err == nil:
		c.show(field, noneWord)
	}
}

// tag codes a bool that is 1 or 0 and nothing else.
func (c *codec) tag(field string, have *bool) {
	if c.trace != nil {
		c.bool(field, have)
		return
	}
	var tag uint64
	if *have {
		tag = 1
	}
	c.limited(field, &tag, 1)
	if !c.encoding() {
		*have = tag == 1
	}
}
