package nar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"pix/internal/exactjson"
)

// `nix nar ls --json` prints a listing in JSON. Binary caches offer it in ".ls" files beside
// their archives, wrapped in an object with a version:
//
//	{"root":{"entries":{"hello":{"narOffset":400,"size":5,"type":"regular"}},"type":"directory"},"version":1}
//
// Source: src/libutil/memory-source-accessor/json.cc and src/libstore/binary-cache-store.cc
// in Nix 2.34. Newer versions also write "executable":false.

// lsVersion is the only version of ".ls" files.

// lsVersion is the only version that ".ls" files have had.
const lsVersion = 1

// MarshalJSON returns l as Nix 2.34 prints it: without spaces, keys sorted, and without an
// "executable" that is false or a "narOffset" that is 0. As in Nix, names and targets that
// are not UTF-8 are an error, because JSON cannot represent them.
func (l *Listing) MarshalJSON() ([]byte, error) { return l.appendJSON(nil, MaxDepth) }

// MarshalShallowJSON returns l as [Listing.MarshalJSON] does, but only the names of the
// entries in a directory.
func (l *Listing) MarshalShallowJSON() ([]byte, error) { return l.appendJSON(nil, 0) }

// UnmarshalJSON reads the listings of all versions of Nix. Like Nix, it ignores unknown keys.
// It also returns an error for a duplicate key, and for a node that no archive can contain.
func (l *Listing) UnmarshalJSON(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("invalid listing: it is not UTF-8")
	}
	listing, err := readListing(json.NewDecoder(bytes.NewReader(b)), "", 0)
	if err != nil {
		return fmt.Errorf("invalid listing: %w", err)
	}
	*l = listing
	return nil
}

// MarshalLS returns the contents of the ".ls" file of a binary cache.
func MarshalLS(l *Listing) ([]byte, error) {
	b, err := l.appendJSON([]byte(`{"root":`), MaxDepth)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(b, `,"version":%d}`, lsVersion), nil
}

// ParseLS reads the contents of the ".ls" file of a binary cache.
func ParseLS(b []byte) (*Listing, error) {
	file, err := exactjson.Object(b)
	if err != nil {
		return nil, fmt.Errorf("invalid listing: %w", err)
	}
	if version, err := strconv.Atoi(string(file["version"])); err != nil || version != lsVersion || file["root"] == nil {
		return nil, fmt.Errorf("invalid listing: it has no root, or its version is not %d", lsVersion)
	}
	root := new(Listing)
	if err := root.UnmarshalJSON(file["root"]); err != nil {
		return nil, err
	}
	return root, nil
}

// appendJSON appends l and everything below it, down to the given depth.
func (l *Listing) appendJSON(dst []byte, depth int) (_ []byte, err error) {
	switch l.Kind {
	case Directory:
		dst = append(dst, `{"entries":{`...)
		for i := range l.Entries {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = l.Entries[i].appendMember(dst, depth-1); err != nil {
				return nil, err
			}
		}
		return append(dst, `},"type":"directory"}`...), nil
	case Symlink:
		if dst, err = appendString(append(dst, `{"target":`...), l.Target); err != nil {
			return nil, err
		}
		return append(dst, `,"type":"symlink"}`...), nil
	case Regular:
		dst = append(dst, '{')
		if l.Executable {
			dst = append(dst, `"executable":true,`...)
		}
		if l.Offset != 0 {
			dst = fmt.Appendf(dst, `"narOffset":%d,`, l.Offset)
		}
		return fmt.Appendf(dst, `"size":%d,"type":"regular"}`, l.Size), nil
	}
	return nil, fmt.Errorf("%q has no kind", l.Name)
}

// appendMember appends l as a member of the entries of its directory.
func (l *Listing) appendMember(dst []byte, depth int) ([]byte, error) {
	dst, err := appendString(dst, l.Name)
	if err != nil {
		return nil, err
	}
	dst = append(dst, ':')
	if depth < 0 {
		return append(dst, "{}"...), nil
	}
	return l.appendJSON(dst, depth)
}

// appendString appends s as a JSON string. It returns an error if s is not UTF-8.
func appendString(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("%s is not UTF-8 and cannot be represented in JSON", strconv.Quote(s))
	}
	return exactjson.AppendString(dst, s), nil
}

// A jsonNode holds the members of a node in JSON. A missing member is nil.
type jsonNode struct {
	kind       *string
	executable *bool
	size       *uint64
	narOffset  *int64
	target     *string
	entries    *[]Listing
}

// readListing reads the next node from d.
func readListing(d *json.Decoder, name string, depth int) (Listing, error) {
	var n jsonNode
	err := exactjson.Members(d, func(key string) error {
		var err error
		switch key {
		case "type":
			err = readOnce(d, &n.kind)
		case "executable":
			err = readOnce(d, &n.executable)
		case "size":
			err = readOnce(d, &n.size)
		case "narOffset":
			err = readOnce(d, &n.narOffset)
		case "target":
			err = readOnce(d, &n.target)
		case "entries":
			return n.readEntries(d, depth)
		default:
			var unknown json.RawMessage
			err = d.Decode(&unknown)
		}
		if err != nil {
			err = fmt.Errorf("%q, key %.20q: %w", name, key, err)
		}
		return err
	})
	if err != nil {
		return Listing{}, err
	}
	return n.listing(name)
}

// errDuplicate reports that an object has the same key twice.
var errDuplicate = errors.New("duplicate key")

// readOnce reads the value of a key. The key must not be a duplicate, and the value not null.
func readOnce[T any](d *json.Decoder, value **T) error {
	if *value != nil {
		return errDuplicate
	}
	if err := d.Decode(value); err != nil {
		return err
	}
	if *value == nil {
		return errors.New("a value is null")
	}
	return nil
}

// readEntries reads the entries of a directory.
func (n *jsonNode) readEntries(d *json.Decoder, depth int) error {
	if n.entries != nil {
		return errDuplicate
	}
	var entries []Listing
	err := exactjson.Members(d, func(name string) error {
		if depth+1 >= MaxDepth {
			return fmt.Errorf("directories are nested more than %d deep", MaxDepth)
		}
		if err := CheckName(name); err != nil {
			return err
		}
		l, err := readListing(d, name, depth+1)
		entries = append(entries, l)
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b Listing) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(entries); i++ {
		if entries[i].Name == entries[i-1].Name {
			return errDuplicate
		}
	}
	n.entries = &entries
	return nil
}

// listing returns the node as a Listing. It checks the rules of Nix's JSON and of archives.
func (n *jsonNode) listing(name string) (Listing, error) {
	l := Listing{Name: name, Executable: orZero(n.executable), Offset: orZero(n.narOffset), Target: orZero(n.target)}
	switch kind := orZero(n.kind); kind {
	case "regular":
		if n.size == nil || l.Offset < 0 || *n.size > uint64(math.MaxInt64-l.Offset) {
			return Listing{}, fmt.Errorf("the file %q has no size, or a size that is too large", name)
		}
		l.Kind, l.Size = Regular, *n.size
	case "symlink":
		l.Kind = Symlink
	case "directory":
		l.Kind = Directory
		if n.entries == nil {
			return Listing{}, fmt.Errorf("the directory %q has no entries", name)
		}
		l.Entries = *n.entries
	default:
		return Listing{}, fmt.Errorf("%q has the type %q", name, kind)
	}
	if reason := checkNode(&Entry{Kind: l.Kind, Executable: l.Executable, Size: l.Size, Target: l.Target}); reason != "" {
		return Listing{}, fmt.Errorf("%q: %s", name, reason)
	}
	return l, nil
}

// orZero returns *p, or the zero value if p is nil.
func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
