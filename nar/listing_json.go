package nar

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Listings have a form in JSON, which `nix nar ls --json` prints, and which binary
// caches offer beside their archives, wrapped in an object with a version, as files
// that end in ".ls":
//
//	{"root":{"entries":{"hello":{"narOffset":400,"size":5,"type":"regular"}},"type":"directory"},"version":1}
//
// Source: src/libutil/memory-source-accessor/json.cc and src/libstore/binary-cache-store.cc
// in Nix 2.34. Newer versions write "executable":false, too.

// lsVersion is the only version that ".ls" files have had.
const lsVersion = 1

// MarshalJSON writes l as Nix 2.34 prints it: without spaces, keys sorted, no
// "executable" that is false and no "narOffset" that is 0. JSON has no way to spell
// names and targets that are not UTF-8: they are an error, as they are in Nix.
func (l *Listing) MarshalJSON() ([]byte, error) { return l.appendJSON(nil, MaxDepth) }

// MarshalShallowJSON writes l as [Listing.MarshalJSON] does, but of what lies in it
// only the names.
func (l *Listing) MarshalShallowJSON() ([]byte, error) { return l.appendJSON(nil, 0) }

// UnmarshalJSON reads what any version of Nix writes. Like Nix it passes over keys
// that it does not know. Beyond JSON it refuses what no archive can hold.
func (l *Listing) UnmarshalJSON(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("a listing is not valid: it is not UTF-8")
	}
	var node jsonNode
	if err := json.Unmarshal(b, &node); err != nil {
		return fmt.Errorf("a listing is not valid: %w", err)
	}
	listing, err := node.listing("", 0)
	if err != nil {
		return fmt.Errorf("a listing is not valid: %w", err)
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
	var file struct {
		Version *int
		Root    *Listing
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, err
	}
	if file.Version == nil || *file.Version != lsVersion || file.Root == nil {
		return nil, fmt.Errorf("a listing is not valid: it has no root, or its version is not %d", lsVersion)
	}
	return file.Root, nil
}

// appendJSON appends l with what lies in it down to that depth.
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

// appendMember appends l as what lies in a directory.
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

// appendString appends a string of JSON, with the escapes that Nix's library writes.
// That of Go escapes more.
func appendString(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("%s is not UTF-8 and cannot be written in JSON", strconv.Quote(s))
	}
	const short = "\b\f\n\r\t\"\\"
	const escapes = `bfnrt"\`
	dst = append(dst, '"')
	for i := range len(s) {
		c := s[i]
		if at := strings.IndexByte(short, c); at >= 0 {
			dst = append(dst, '\\', escapes[at])
		} else if c < ' ' {
			dst = fmt.Appendf(dst, `\u%04x`, c)
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst, '"'), nil
}

// A jsonNode is a node as JSON has it.
type jsonNode struct {
	Type       string
	Executable bool
	Size       *uint64
	NarOffset  int64
	Target     string
	Entries    map[string]*jsonNode
}

// listing returns the node as a Listing, after all that Nix and archives demand.
func (n *jsonNode) listing(name string, depth int) (Listing, error) {
	if n == nil {
		return Listing{}, fmt.Errorf("%q is null", name)
	}
	l := Listing{Name: name, Executable: n.Executable, Offset: n.NarOffset, Target: n.Target}
	switch n.Type {
	case "regular":
		if n.Size == nil || n.NarOffset < 0 || *n.Size > uint64(math.MaxInt64-n.NarOffset) {
			return Listing{}, fmt.Errorf("the file %q has no size, or no archive is so large", name)
		}
		l.Kind, l.Size = Regular, *n.Size
	case "symlink":
		l.Kind = Symlink
	case "directory":
		l.Kind = Directory
		if n.Entries == nil {
			return Listing{}, fmt.Errorf("the directory %q has no entries", name)
		}
		if err := n.addEntries(&l, depth); err != nil {
			return Listing{}, err
		}
	default:
		return Listing{}, fmt.Errorf("%q has the type %q", name, n.Type)
	}
	if reason := checkNode(&Entry{Kind: l.Kind, Executable: l.Executable, Size: l.Size, Target: l.Target}); reason != "" {
		return Listing{}, fmt.Errorf("%q: %s", name, reason)
	}
	return l, nil
}

func (n *jsonNode) addEntries(dir *Listing, depth int) error {
	if depth+1 >= MaxDepth && len(n.Entries) > 0 {
		return fmt.Errorf("directories are nested more than %d deep", MaxDepth)
	}
	for name, child := range n.Entries {
		if err := CheckName(name); err != nil {
			return err
		}
		l, err := child.listing(name, depth+1)
		if err != nil {
			return err
		}
		dir.Entries = append(dir.Entries, l)
	}
	sort.Slice(dir.Entries, func(i, j int) bool { return dir.Entries[i].Name < dir.Entries[j].Name })
	return nil
}
