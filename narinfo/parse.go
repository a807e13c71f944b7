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
	// MaxLen is the length of the longest file in bytes. A reference takes about 60.
	MaxLen = 4 << 20
	// MaxUnknown is the largest number of lines with unknown keys.
	MaxUnknown = 1000
)

// Options say how a file is read. Nil is the zero value.
type Options struct {
	// StoreDir is the store directory of the cache; "" means [storepath.DefaultDir].
	StoreDir storepath.Dir

	// Lenient forgives how a file is written:
	//
	//   - no line feed at the end, carriage returns, blank lines;
	//   - no space after the colon, or more white space than one;
	//   - a key whose value is empty, which is as if it were not there.
	Lenient bool
}

// A SyntaxError says why a text is no narinfo file.
type SyntaxError struct {
	Line   int    // counted from 1; 0 if it is something missing
	Key    string // of that line, or of what is missing; "" if the line has none
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

// unknownDeriver is how some caches say that they do not know the deriver.
const unknownDeriver = "unknown-deriver"

// defaultCompression is that of files that do not say.
const defaultCompression = "bzip2"

// Parse reads a narinfo file. What it returns points into the text.
//
// Without [Options.Lenient] it takes exactly what Nix 2.34 takes, but for four things:
// it refuses what is beyond its limits, a store path or reference whose hash part is
// not followed by a dash, and nothing for lack of an experimental feature (BLAKE3, git);
// and it drops a key that goes over several lines, which Nix makes of a line without a
// colon and ignores. Of a key that comes several times the last counts; signatures add up;
// the second of two CA or References that are not empty is an error.
//
// StorePath, URL, NarHash and NarSize have to be there. The error is a [*SyntaxError].
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

// ParseBytes is [Parse] for bytes, which it copies once.
func ParseBytes(text []byte, opts *Options) (*NarInfo, error) {
	if len(text) > MaxLen {
		text = text[:MaxLen+1] // Parse says no without a look at it
	}
	return Parse(string(text), opts)
}

type parser struct {
	dir     storepath.Dir
	lenient bool
	info    *NarInfo
}

// set takes in one line.
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
			return errors.New("it is there twice")
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
			return errors.New("it is there twice")
		}
		if value != "" {
			info.CA, err = storepath.ParseContentAddress(value)
		}
	default:
		err = p.setUnknown(key, value)
	}
	return err
}

// isKnown reports whether Nix knows the key.
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
		return fmt.Errorf("more than %d keys are not known", MaxUnknown)
	}
	p.info.Unknown = append(p.info.Unknown, Field{key, value})
	return nil
}

// finish looks after what is missing, and brings sets into order.
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
	info.References = sortedOnce(info.References)
	info.Signatures = sortedOnce(info.Signatures)
	return nil
}

// sortedOnce sorts s in place and returns it without duplicates.
func sortedOnce[T ~string](s []T) []T {
	if !slices.IsSorted(s) {
		slices.Sort(s)
	}
	return slices.Compact(s)
}

// parsePath reads a whole path. Like Nix it takes one that is not clean.
func (p *parser) parsePath(s string) (storepath.Path, error) {
	parsed, err := p.dir.Parse(s)
	if err != nil && path.Clean(s) != s {
		return p.dir.Parse(path.Clean(s))
	}
	return parsed, err
}

// parseSize reads a size. Like Nix it takes a plus sign before it.
func parseSize(s string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 10, 64)
	if err != nil {
		return 0, errors.New("it is not a whole number below 2^64")
	}
	return n, nil
}

// parseReferences reads base names with spaces between them. All paths are parts of one
// string, so that there are two allocations however many they are.
func parseReferences(dir storepath.Dir, value string) ([]storepath.Path, error) {
	const shortest = storepath.HashPartLen + len("-x")
	count, size := 0, 0
	for base := range words(value) {
		if len(base) < shortest { // before anything is allocated for it
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

// words iterates over the parts of s between spaces that are not empty.
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
