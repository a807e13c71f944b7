package nar

import (
	"fmt"
	"strings"
)

// Magic is the string at the beginning of every archive.
const Magic = "nix-archive-1"

// The limits of the format in Nix 2.34 (src/libutil/archive.cc). Older versions have
// none.
const (
	MaxDepth     = 64   // nodes on the path from the root to a node, including both
	MaxNameLen   = 255  // bytes in a name
	MaxTargetLen = 4095 // bytes in the target of a symlink
)

// maxTagLen is the length limit of tags. The longest valid tag has ten bytes; an invalid
// one up to the limit is read, so that the error can show it.
const maxTagLen = 32

// A Kind is the kind of a node. The zero value is invalid.
type Kind uint8

// The kinds of nodes. An archive cannot contain devices, pipes or hard links.
const (
	Regular Kind = iota + 1
	Directory
	Symlink
)

// String returns the name of k in archives and listings.
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

// An Entry is one node of an archive: a file, a directory or a symlink.
type Entry struct {
	Kind  Kind
	Depth int    // number of directories that contain it; 0 for the root, at most MaxDepth-1
	Name  string // name in its directory, 1 to MaxNameLen bytes; "" for the root

	Executable bool   // for a file
	Size       uint64 // size of a file's contents in bytes
	Offset     int64  // offset of a file's contents in the archive; set by a Reader, ignored by a Writer
	Target     string // target of a symlink, 1 to MaxTargetLen bytes
}

// An Error reports why an archive, or an entry to be written, is not valid.
//
// It wraps io.ErrUnexpectedEOF if the archive is truncated, and the error of the
// underlying reader if that failed.
type Error struct {
	Offset int64  // offset in the archive in bytes
	Path   string // path of the node, or of its directory, separated by slashes; "" for the root
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

// readingFailed is the Reason if the underlying reader failed. Package wire uses the same
// text.
const readingFailed = "reading failed"

// CheckName returns an error unless name is valid as the name of an entry: 1 to 255 bytes
// without "/" and NUL, and neither "." nor "..". All other bytes are allowed, including
// invalid UTF-8.
func CheckName(name string) error {
	if reason := checkName(name); reason != "" {
		return fmt.Errorf("the name %q %s", shorten(name), reason)
	}
	return nil
}

// checkName returns why name is not valid as the name of an entry, or "" if it is.
func checkName(name string) (reason string) {
	switch {
	case name == "":
		return "is empty"
	case len(name) > MaxNameLen:
		return fmt.Sprintf("has %d bytes, more than %d", len(name), MaxNameLen)
	case name == "." || name == "..":
		return "is not allowed"
	case strings.IndexByte(name, '/') >= 0:
		return "contains a slash"
	case strings.IndexByte(name, 0) >= 0:
		return "contains a NUL"
	}
	return ""
}

// checkTarget returns why target is not valid as the target of a symlink, or "" if it is.
func checkTarget(target string) (reason string) {
	switch {
	case target == "":
		return "is empty"
	case len(target) > MaxTargetLen:
		return fmt.Sprintf("has %d bytes, more than %d", len(target), MaxTargetLen)
	case strings.IndexByte(target, 0) >= 0:
		return "contains a NUL"
	}
	return ""
}

// shorten truncates s for an error message.
func shorten(s string) string {
	const most = MaxNameLen
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
