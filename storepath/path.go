package storepath

import (
	"fmt"
	"strings"

	"pix/nixbase32"
)

const (
	// HashPartLen is the length of the hash part of a store path in characters.
	HashPartLen = 32
	// HashPartSize is the number of bytes that the hash part spells.
	HashPartSize = 20
	// MaxNameLen is the length in bytes of the longest name of a store path.
	MaxNameLen = 211
	// DerivationExt is what the name of a derivation's store path ends in.
	DerivationExt = ".drv"
)

// A Path is a store path: a store directory, a slash, a hash part, a dash and a
// name. The zero value is no path.
type Path string

// An Error says that a text is no store path, store directory or name, and why.
type Error struct {
	Text   string // what was read
	Reason string // what is wrong with it
}

func (e *Error) Error() string {
	const most = 320 // characters of the text to show: a longer one is no store path anyhow
	text := e.Text
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("%q is not valid: %s", text, e.Reason)
}

// Parse returns s as a store path of whatever store directory it names. Use
// [Dir.Parse] where the directory is known. The error is an [*Error].
func Parse(s string) (Path, error) {
	slash := strings.LastIndexByte(s, '/')
	if slash < 0 {
		return "", &Error{s, "a store path begins with its store directory"}
	}
	if _, err := ParseDir(s[:slash]); err != nil {
		return "", &Error{s, "it does not lie in a store directory, which is an absolute path without empty parts"}
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

// HashPart returns the 32 characters of the hash part; "" for the zero value.
func (p Path) HashPart() string {
	base := p.Base()
	return base[:min(HashPartLen, len(base))]
}

// Name returns what follows the hash part and its dash.
func (p Path) Name() string {
	base := p.Base()
	return base[min(HashPartLen+1, len(base)):]
}

// IsDerivation reports whether the name ends in ".drv".
func (p Path) IsDerivation() bool { return strings.HasSuffix(string(p), DerivationExt) }

// Clone returns a copy of the path that shares no memory with it. A path that was read is often part
// of a longer text, and keeps all of that in memory.
func (p Path) Clone() Path { return Path(strings.Clone(string(p))) }

// MarshalText writes the path, and fails if it is not valid. The zero value is the
// empty text.
func (p Path) MarshalText() ([]byte, error) {
	if p != "" {
		if _, err := Parse(string(p)); err != nil {
			return nil, err
		}
	}
	return []byte(p), nil
}

// UnmarshalText reads what [Parse] reads, and the empty text as the zero value.
func (p *Path) UnmarshalText(text []byte) (err error) {
	*p = ""
	if len(text) > 0 {
		*p, err = Parse(string(text))
	}
	return err
}

// CheckName returns an [*Error] unless name may be the name of a store path: 1 to
// 211 bytes out of A-Z, a-z, 0-9 and "+-._?=", whose first component before a dash
// is neither "." nor "..".
func CheckName(name string) error {
	if reason := checkName(name); reason != "" {
		return &Error{name, reason}
	}
	return nil
}

// checkBase returns why base is not the last component of a store path, or "".
func checkBase(base string) (reason string) {
	if len(base) < HashPartLen+1 {
		return "it is too short for a store path"
	}
	for i := range HashPartLen {
		if !nixbase32.IsDigit(base[i]) {
			return fmt.Sprintf("its hash part has the illegal base-32 character %q", base[i])
		}
	}
	if base[HashPartLen] != '-' {
		return "its hash part is not followed by a dash"
	}
	return checkName(base[HashPartLen+1:])
}

// checkName returns why name cannot be the name of a store path, or "".
func checkName(name string) (reason string) {
	if name == "" {
		return "its name is empty"
	}
	if len(name) > MaxNameLen {
		return fmt.Sprintf("its name has %d bytes, more than %d", len(name), MaxNameLen)
	}
	for i := range len(name) {
		if !nameBytes[name[i]] {
			return fmt.Sprintf("its name has the illegal character %q", name[i])
		}
	}
	if first, _, _ := strings.Cut(name, "-"); first == "." || first == ".." {
		return fmt.Sprintf("its name begins with %q, which ends there or is followed by a dash", first)
	}
	return ""
}

var nameBytes = func() (t [256]bool) {
	for c := range 256 {
		b := byte(c)
		t[c] = '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || strings.IndexByte("+-._?=", b) >= 0
	}
	return t
}()
