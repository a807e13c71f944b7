package storepath

import (
	"fmt"
	"path"
	"strings"

	"pix/internal/firstchar"
	"pix/nixbase32"
)

const (
	// HashPartLen is the length of the hash part of a store path in characters.
	HashPartLen = 32
	// HashPartSize is the number of bytes that the hash part encodes.
	HashPartSize = 20
	// MaxNameLen is the maximum length of a store path's name in bytes.
	MaxNameLen = 211
	// DerivationExt is the suffix of the names of derivations.
	DerivationExt = ".drv"
)

// A Path is a store path: a store directory, a slash, a hash part, a dash and a
// name. The zero value is not a path.
type Path string

// An Error reports that a text is not a valid store path, store directory or name,
// and why.
type Error struct {
	Text   string // the text
	Reason string // why it is not valid
}

func (e *Error) Error() string {
	const most = 320 // longer than any store path in a usual directory
	text := e.Text
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("%q is not valid: %s", text, e.Reason)
}

// Parse returns s as a store path in any store directory. Use [Dir.Parse] if the
// directory is known. The error is an [*Error].
func Parse(s string) (Path, error) {
	slash := strings.LastIndexByte(s, '/')
	if slash < 0 {
		return "", &Error{s, "a store path begins with its store directory"}
	}
	if _, err := ParseDir(s[:slash]); err != nil {
		return "", &Error{s, "it does not lie in a store directory, which is an absolute path without empty components"}
	}
	if reason := checkBase(s[slash+1:]); reason != "" {
		return "", &Error{s, reason}
	}
	return Path(s), nil
}

// Dir returns the store directory.
func (p Path) Dir() Dir { return Dir(p[:max(strings.LastIndexByte(string(p), '/'), 0)]) }

// Base returns the hash part, the dash and the name.
func (p Path) Base() string { return string(p[strings.LastIndexByte(string(p), '/')+1:]) }

// HashPart returns the 32 characters of the hash part, or "" for the zero value.
func (p Path) HashPart() string {
	base := p.Base()
	return base[:min(HashPartLen, len(base))]
}

// Name returns the part after the hash part and its dash.
func (p Path) Name() string {
	base := p.Base()
	return base[min(HashPartLen+1, len(base)):]
}

// IsDerivation reports whether the name ends in ".drv".
func (p Path) IsDerivation() bool { return strings.HasSuffix(string(p), DerivationExt) }

// Clone returns a copy of the path that shares no memory with it. A parsed path is
// often a substring of a longer text, which it keeps in memory.
func (p Path) Clone() Path { return Path(strings.Clone(string(p))) }

// MarshalText returns the path as bytes, and fails if it is not valid. The zero
// value is the empty text.
func (p Path) MarshalText() ([]byte, error) {
	if p != "" {
		if _, err := Parse(string(p)); err != nil {
			return nil, err
		}
	}
	return []byte(p), nil
}

// UnmarshalText parses text with [Parse]. An empty text is the zero value.
func (p *Path) UnmarshalText(text []byte) (err error) {
	*p = ""
	if len(text) > 0 {
		*p, err = Parse(string(text))
	}
	return err
}

// CheckName returns an [*Error] unless name is valid as the name of a store path. A
// name has 1 to 211 bytes out of A-Z, a-z, 0-9 and "+-._?=". The part before the first
// dash must not be "." or "..".
func CheckName(name string) error {
	if reason := checkName(name); reason != "" {
		return &Error{name, reason}
	}
	return nil
}

// checkBase returns why base is not the last component of a store path, or "" if it is.
func checkBase(base string) (reason string) {
	if len(base) < HashPartLen+1 {
		return "it is too short for a store path"
	}
	for i := range HashPartLen {
		if !nixbase32.IsDigit(base[i]) {
			return fmt.Sprintf("its hash part has the illegal base-32 character %s", firstchar.Quote(base[i:]))
		}
	}
	if base[HashPartLen] != '-' {
		return "its hash part is not followed by a dash"
	}
	return checkName(base[HashPartLen+1:])
}

// checkName returns why name is not valid as the name of a store path, or "" if it is.
func checkName(name string) (reason string) {
	if name == "" {
		return "its name is empty"
	}
	if len(name) > MaxNameLen {
		return fmt.Sprintf("its name has %d bytes, more than %d", len(name), MaxNameLen)
	}
	for i := range len(name) {
		if !nameBytes[name[i]] {
			return fmt.Sprintf("its name has the illegal character %s", firstchar.Quote(name[i:]))
		}
	}
	if first, _, _ := strings.Cut(name, "-"); first == "." || first == ".." {
		return fmt.Sprintf("its name begins with %q, which ends there or is followed by a dash", first)
	}
	return ""
}

// IsNameByte reports whether c is valid in the name of a store path.
func IsNameByte(c byte) bool { return nameBytes[c] }

var nameBytes = func() (t [256]bool) {
	for c := range 256 {
		b := byte(c)
		t[c] = '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || strings.IndexByte("+-._?=", b) >= 0
	}
	return t
}()

// A Dir is a store directory, an absolute and clean path such as "/nix/store".
type Dir string

// DefaultDir is the default store directory of Nix.
const DefaultDir Dir = "/nix/store"

// ParseDir returns s as a store directory. The error is an [*Error] unless s is
// absolute, clean (no "//", "." or "..", no trailing slash) and not the root.
func ParseDir(s string) (Dir, error) {
	if !strings.HasPrefix(s, "/") || s == "/" || path.Clean(s) != s || strings.ContainsRune(s, 0) {
		return "", &Error{s, "a store directory is an absolute path without empty or dot components and without a trailing slash"}
	}
	return Dir(s), nil
}

// Parse returns s as a store path in d. The error is an [*Error] if s lies in
// another directory, lies below a store path, or is not a store path.
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

// ParseBase returns the store path in d whose last component is base. The error is
// an [*Error].
func (d Dir) ParseBase(base string) (Path, error) {
	if reason := checkBase(base); reason != "" {
		return "", &Error{base, reason}
	}
	return d.join(base), nil
}

// ParseInside splits the path of a file inside a store object into the store path
// and the rest, which is "" or begins with a slash. The error is an [*Error].
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

// cut removes d and the slash after it from s.
func (d Dir) cut(s string) (base string, ok bool) {
	if len(s) <= len(d) || s[len(d)] != '/' || s[:len(d)] != string(d) {
		return "", false
	}
	return s[len(d)+1:], true
}

// UnmarshalText parses text with [ParseDir].
func (d *Dir) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDir(string(text))
	return err
}
