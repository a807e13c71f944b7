package nar

import (
	"fmt"
	"strings"
)

// Magic is the string that every archive begins with.
const Magic = "nix-archive-1"

// The limits of the format, those of Nix 2.34 (src/libutil/archive.cc). Older
// versions have none.
const (
	MaxDepth     = 64   // nodes on the way from the root, which is one of them, to any node
	MaxNameLen   = 255  // bytes in a name
	MaxTargetLen = 4095 // bytes in the target of a symlink
)

// maxTagLen is the length of the longest tag that is read at all, so that an error
// can show it. The longest that exists has ten bytes.
const maxTagLen = 32

// A Kind is what a node of an archive is. The zero value is none of them.
type Kind uint8

// The kinds of nodes. An archive has no others: no devices, no pipes, no hard links.
const (
	Regular Kind = iota + 1
	Directory
	Symlink
)

// String returns the word that stands for k in archives and listings.
func (k Kind) String() string {
	switch k {
	case Regular:
		return "regular"
	case Directory:
		return "directory"
	case Symlink:
		return "symlink"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// An Entry is one node of an archive: a file, a directory or a symlink. Archives
// hold no times, owners or permissions, but for the executable bit of a file.
type Entry struct {
	Kind  Kind
	Depth int    // how many directories it lies in; 0 for the root, at most MaxDepth-1
	Name  string // within its directory, 1 to MaxNameLen bytes; "" for the root

	Executable bool   // of a file
	Size       uint64 // of a file's contents in bytes
	Offset     int64  // of a file's contents from the start of the archive; set by a Reader, ignored by a Writer
	Target     string // of a symlink, 1 to MaxTargetLen bytes
}

// An Error says why an archive, or an attempt to write one, is not valid.
//
// It unwraps to io.ErrUnexpectedEOF if the archive ends too early, and to what
// the reader beneath said if that failed.
type Error struct {
	Offset int64  // in bytes from the start of the archive
	Path   string // of the node at fault, with slashes, or of its directory; "" for the root
	Reason string
	Err    error
}

func (e *Error) Error() string {
	where := ""
	if e.Path != "" {
		where = fmt.Sprintf(", at %q", e.Path)
	}
	if e.Reason == readingFailed {
		return fmt.Sprintf("reading an archive failed at offset %d%s: %v", e.Offset, where, e.Err)
	}
	if e.Err != nil {
		return fmt.Sprintf("bad archive: offset %d%s: %s: %v", e.Offset, where, e.Reason, e.Err)
	}
	return fmt.Sprintf("bad archive: offset %d%s: %s", e.Offset, where, e.Reason)
}

func (e *Error) Unwrap() error { return e.Err }

// readingFailed is the reason where not the archive is to blame, but what it is read from. Package wire
// has the same words.
const readingFailed = "reading failed"

// CheckName returns an error unless name may be that of an entry: 1 to 255 bytes
// without "/" and NUL, and neither "." nor "..". Any other bytes are allowed, also
// those that are not UTF-8.
func CheckName(name string) error {
	if reason := badName(name); reason != "" {
		return fmt.Errorf("the name %q %s", shorten(name), reason)
	}
	return nil
}

// badName returns why name cannot be that of an entry, or "".
func badName(name string) (reason string) {
	switch {
	case name == "":
		return "is empty"
	case len(name) > MaxNameLen:
		return fmt.Sprintf("has %d bytes, more than %d", len(name), MaxNameLen)
	case name == "." || name == "..":
		return "stands for another directory"
	case strings.IndexByte(name, '/') >= 0:
		return "has a slash in it"
	case strings.IndexByte(name, 0) >= 0:
		return "has a NUL in it"
	}
	return ""
}

// badTarget returns why target cannot be that of a symlink, or "".
func badTarget(target string) (reason string) {
	switch {
	case target == "":
		return "is empty"
	case len(target) > MaxTargetLen:
		return fmt.Sprintf("has %d bytes, more than %d", len(target), MaxTargetLen)
	case strings.IndexByte(target, 0) >= 0:
		return "has a NUL in it"
	}
	return ""
}

// shorten returns as much of s as belongs into a message.
func shorten(s string) string {
	const most = MaxNameLen
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
