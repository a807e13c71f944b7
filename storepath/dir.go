package storepath

import (
	"path"
	"strings"
)

// A Dir is a store directory: an absolute, clean path such as "/nix/store".
type Dir string

// DefaultDir is the store directory that Nix has unless it was told another.
const DefaultDir Dir = "/nix/store"

// ParseDir returns s as a store directory. The error is an [*Error] unless s is
// absolute, clean (no "//", "." or ".." and no slash at the end) and not the root.
func ParseDir(s string) (Dir, error) {
	if !strings.HasPrefix(s, "/") || s == "/" || path.Clean(s) != s || strings.ContainsRune(s, 0) {
		return "", &Error{s, "a store directory is an absolute path without a slash at its end"}
	}
	return Dir(s), nil
}

// Parse returns s as a store path in d. The error is an [*Error] if s lies in
// another directory, below a store path, or is no store path at all.
func (d Dir) Parse(s string) (Path, error) {
	base, ok := d.cut(s)
	if !ok {
		return "", &Error{s, "it is not in the store directory " + string(d)}
	}
	if reason := checkBase(base); reason != "" {
		return "", &Error{s, reason}
	}
	return Path(s), nil
}

// ParseBase returns the store path in d whose last component is base.
func (d Dir) ParseBase(base string) (Path, error) {
	if reason := checkBase(base); reason != "" {
		return "", &Error{base, reason}
	}
	return d.join(base), nil
}

// ParseInside splits the name of a file inside a store object into the store
// path and the rest, which is "" or begins with a slash.
func (d Dir) ParseInside(s string) (p Path, rest string, err error) {
	base, ok := d.cut(s)
	if !ok {
		return "", "", &Error{s, "it is not in the store directory " + string(d)}
	}
	base, below, slash := strings.Cut(base, "/")
	if reason := checkBase(base); reason != "" {
		return "", "", &Error{s, reason}
	}
	if slash {
		rest = "/" + below
	}
	return d.join(base), rest, nil
}

// Contains reports whether p lies in d.
func (d Dir) Contains(p Path) bool { return p.Dir() == d }

func (d Dir) join(base string) Path { return Path(string(d) + "/" + base) }

// cut takes d and a slash off s.
func (d Dir) cut(s string) (base string, ok bool) {
	if len(s) <= len(d) || s[len(d)] != '/' || s[:len(d)] != string(d) {
		return "", false
	}
	return s[len(d)+1:], true
}

// UnmarshalText reads what [ParseDir] reads.
func (d *Dir) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDir(string(text))
	return err
}
