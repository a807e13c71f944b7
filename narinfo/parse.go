package narinfo

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"pix/nixhash"
	"pix/signature"
	"pix/storepath"
)

// Limits of [Parse]. Nix has none.
const (
	// MaxLen is the maximum length of a file in bytes. A reference takes about 60.
	MaxLen = 4 << 20
	// MaxUnknown is the maximum number of lines with unknown keys.
	MaxUnknown = 1000
)

// Options are the options of [Parse]. Nil is the zero value.
type Options struct {
	// StoreDir is the store directory of the cache; "" means [storepath.DefaultDir].
	StoreDir storepath.Dir

	// Lenient accepts more formatting:
	//
	//   - a missing line feed at the end, carriage returns, blank lines;
	//   - no space after the colon, or more white space;
	//   - a known key with an empty value, which is ignored.
	Lenient bool
}

// A SyntaxError reports why a text is not a valid narinfo file.
type SyntaxError struct {
	Line   int    // counted from 1; 0 if a key is missing
	Key    string // key of the line, or the missing key; "" if the line has none
	Reason string
}

func (e *SyntaxError) Error() string {
	const most = 80 // characters of the key to show
	text := "narinfo"
	if e.Line > 0 {
		text += fmt.Sprintf(", line %d", e.Line)
	}
	if e.Key != "" {
		text += fmt.Sprintf(", key %q", e.Key[:min(most, len(e.Key))])
	}
	return text + ": " + e.Reason
}

// unknownDeriver is the deriver in some caches if it is unknown.
const unknownDeriver = "unknown-deriver"

// defaultCompression is the compression if a file does not contain it.
const defaultCompression = "bzip2"

// Parse parses a narinfo file. The result points into text.
//
// Without [Options.Lenient] it accepts exactly what Nix 2.34 accepts, with these differences. It
// rejects texts that exceed its limits, and store paths in which no dash follows the hash part. It
// does not reject BLAKE3 and git, for which Nix requires an experimental feature. It drops a key that
// contains line feeds, the result of a line without a colon; Nix ignores such a key.
//
// If a key occurs several times, the last one counts. Signatures accumulate. A second CA or References
// after one that is not empty is an error.
//
// StorePath, URL, NarHash and NarSize are required. The error is a [*SyntaxError].
func Parse(text string, opts *Options) (*NarInfo, error) {
	if opts == nil {
		opts = new(Options)
	}
	if len(text) > MaxLen {
		return nil, &SyntaxError{Reason: fmt.Sprintf("it has %d bytes, more than %d", len(text), MaxLen)}
	}
	p := parser{dir: opts.StoreDir, lenient: opts.Lenient, info: new(NarInfo)}
	if p.dir == "" {
		p.dir = storepath.DefaultDir
	}
	l := lines{text: text}
	for {
		start := l.pos
		key, value, ok, err := l.next(p.lenient)
		if err == nil && !ok {
			break
		}
		if err == nil {
			err = p.set(key, value)
		}
		if err != nil {
			return nil, &SyntaxError{1 + strings.Count(text[:start], "\n"), key, err.Error()}
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	return p.info, nil
}

// ParseBytes parses a copy of text with [Parse].
func ParseBytes(text []byte, opts *Options) (*NarInfo, error) {
	if len(text) > MaxLen {
		text = text[:MaxLen+1] // Parse rejects it because of its length
	}
	return Parse(string(text), opts)
}

type parser struct {
	dir     storepath.Dir
	lenient bool
	info    *NarInfo
}

// set sets the field of one line.
func (p *parser) set(key, value string) (err error) {
	info := p.info
	if p.lenient && value == "" && isKnown(key) {
		return nil
	}
	switch key {
	case "StorePath":
		info.Path, err = p.parsePath(value)
	case "URL":
		info.URL = value
	case "Compression":
		info.Compression = value
	case "FileHash":
		info.FileHash, err = nixhash.Parse(value)
	case "FileSize":
		info.FileSize, err = parseSize(value)
	case "NarHash":
		info.NARHash, err = nixhash.Parse(value)
	case "NarSize":
		info.NARSize, err = parseSize(value)
	case "References":
		if len(info.References) > 0 {
			return errors.New("duplicate key")
		}
		info.References, err = parseReferences(p.dir, value)
	case "Deriver":
		if value != unknownDeriver {
			info.Deriver, err = p.dir.ParseBase(value)
		}
	case "Sig":
		var s string
		s, err = signature.Canonical(value)
		info.Signatures = append(info.Signatures, s)
	case "CA":
		if !info.CA.IsZero() {
			return errors.New("duplicate key")
		}
		if value != "" {
			info.CA, err = storepath.ParseContentAddress(value)
		}
	default:
		err = p.setUnknown(key, value)
	}
	return err
}

// isKnown reports whether key is one of Nix's keys.
func isKnown(key string) bool {
	switch key {
	case "StorePath", "URL", "Compression", "FileHash", "FileSize", "NarHash", "NarSize", "References", "Deriver", "Sig", "CA":
		return true
	}
	return false
}

func (p *parser) setUnknown(key, value string) error {
	if strings.Contains(key, "\n") {
		return nil
	}
	if len(p.info.Unknown) == MaxUnknown {
		return fmt.Errorf("there are more than %d unknown keys", MaxUnknown)
	}
	p.info.Unknown = append(p.info.Unknown, Field{key, value})
	return nil
}

// finish checks that required keys exist, and sorts references and signatures.
func (p *parser) finish() error {
	info := p.info
	if info.Compression == "" {
		info.Compression = defaultCompression
	}
	switch {
	case info.Path == "":
		return &SyntaxError{0, "StorePath", "it is missing"}
	case info.NARHash.IsZero():
		return &SyntaxError{0, "NarHash", "it is missing"}
	case info.URL == "":
		return &SyntaxError{0, "URL", "it is missing"}
	case info.NARSize == 0:
		return &SyntaxError{0, "NarSize", "it is missing or zero"}
	}
	info.References = sortUnique(info.References)
	info.Signatures = sortUnique(info.Signatures)
	return nil
}

// sortUnique sorts s in place and returns it without duplicates.
func sortUnique[T ~string](s []T) []T {
	if !slices.IsSorted(s) {
		slices.Sort(s)
	}
	return slices.Compact(s)
}

// parsePath parses a full path. Like Nix it accepts a path that is not clean.
func (p *parser) parsePath(s string) (storepath.Path, error) {
	parsed, err := p.dir.Parse(s)
	if err != nil && path.Clean(s) != s {
		return p.dir.Parse(path.Clean(s))
	}
	return parsed, err
}

// parseSize parses a size. Like Nix it accepts a plus sign before the number.
func parseSize(s string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 10, 64)
	if err != nil {
		return 0, errors.New("it is not a whole number below 2^64")
	}
	return n, nil
}

// parseReferences parses base names that are separated by spaces. All paths are substrings of one string,
// so it makes only two allocations.
func parseReferences(dir storepath.Dir, value string) ([]storepath.Path, error) {
	const shortest = storepath.HashPartLen + len("-x")
	count, size := 0, 0
	for base := range words(value) {
		if len(base) < shortest { // too short to be valid: fail before allocating memory for it
			_, err := dir.ParseBase(base)
			return nil, err
		}
		count++
		size += len(dir) + 1 + len(base)
	}
	if count == 0 {
		return nil, nil
	}
	var all strings.Builder
	all.Grow(size)
	references := make([]storepath.Path, 0, count)
	for base := range words(value) {
		start := all.Len()
		all.WriteString(string(dir))
		all.WriteByte('/')
		all.WriteString(base)
		reference, err := dir.Parse(all.String()[start:])
		if err != nil {
			return nil, err
		}
		references = append(references, reference)
	}
	return references, nil
}

// words returns an iterator over the non-empty parts of s between spaces.
func words(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for s != "" {
			var word string
			word, s, _ = strings.Cut(s, " ")
			if word != "" && !yield(word) {
				return
			}
		}
	}
}

// lines reads the keys and values of a text from pos on.
type lines struct {
	text string
	pos  int
}

// next returns the next key and value; ok is false at the end.

func (l *lines) next(lenient bool) (key, value string, ok bool, err error) {
	if lenient {
		return l.lenient()
	}
	return l.strict()
}

// strict returns the next key and value as Nix does; ok is false at the end.
//
// Nix looks for the next colon, skips the byte after it, and takes everything up to the next line feed
// as the value. So a key can contain line feeds, and if a line feed follows the colon directly, the
// next line is the value.
func (l *lines) strict() (key, value string, ok bool, err error) {
	rest := l.text[l.pos:]
	if rest == "" {
		return "", "", false, nil
	}
	colon := strings.IndexByte(rest, ':')
	if colon < 0 {
		return "", "", false, errors.New("it has no colon")
	}
	key = rest[:colon]
	after := colon + len(": ")
	length := strings.IndexByte(rest[min(after, len(rest)):], '\n')
	if length < 0 {
		return key, "", false, errors.New("it does not end with a line feed")
	}
	end := after + length
	l.pos += end + 1
	return key, rest[after:end], true, nil
}

// blank is the white space that a lenient reader removes around keys and values.
const blank = " \t\r"

// lenient returns the key and value of the next line that is not blank; ok is false at the end.
func (l *lines) lenient() (key, value string, ok bool, err error) {
	for l.pos < len(l.text) {
		line, _, _ := strings.Cut(l.text[l.pos:], "\n")
		l.pos = min(l.pos+len(line)+1, len(l.text))
		if line = strings.Trim(line, blank); line == "" {
			continue
		}
		key, value, found := strings.Cut(line, ":")
		if !found {
			return "", "", false, errors.New("it has no colon")
		}
		return strings.TrimRight(key, blank), strings.TrimLeft(value, blank), true, nil
	}
	return "", "", false, nil
}
