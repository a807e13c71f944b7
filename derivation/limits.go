package derivation

import (
	"fmt"

	"pix/storepath"
)

// MaxFile is the maximum size in bytes of a .drv file that is read from a directory or a store. The largest known ones have a few
// megabytes.
const MaxFile = 32 << 20

// errTooLarge reports that a file has more than [MaxFile] bytes.
var errTooLarge = fmt.Errorf("it has more than %d bytes, the limit for a derivation", MaxFile)

// Limits limit the size of a closure. A malicious source could answer each query with two new
// paths, until a program that follows them runs out of memory. A limit of 0 means no limit.
//
// Each answer counts when it arrives. So memory may also hold the answer that exceeds the limits, and
// the answers to outstanding queries.
type Limits struct {
	// Paths is the maximum number of paths. A path counts as soon as something refers to it.
	Paths int

	// References is the maximum number of references of all paths, including duplicates.
	References int

	// Bytes is the maximum size of the closure in memory. Each byte counts twice, because the
	// garbage collector lets the heap grow to twice the live data.
	Bytes int64
}

// OwnLimits returns the limits for a trusted source: 2^22 paths, 2^26 references, and no limit of
// bytes. Trusted sources are directories of derivations, and stores whose database this program
// writes, because paths are checked when they are added.
func OwnLimits() Limits { return Limits{Paths: 1 << 22, References: 1 << 26} }

// ForeignLimits returns the limits of a closure from any other source, such as a binary cache or a
// daemon: 2^20 paths and 256 MiB.
func ForeignLimits() Limits { return Limits{Paths: 1 << 20, Bytes: 256 << 20} }

// A LimitError reports that the closure of a source exceeds [Limits].
type LimitError struct {
	Limit  string         // the exceeded limit: "paths", "references" or "bytes of memory"
	Max    int64          // its value
	Root   storepath.Path // the root from which Path was reached
	Path   storepath.Path // the path whose references or info exceeded the limit
	Source string         // the name of the source for messages
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("the closure of '%s' in %s exceeds the limit of %d %s", e.Root, e.Source, e.Max, e.Limit)
}

// Exceeded returns an error for the first limit that is exceeded, or nil. It does not set Root,
// Path and Source of the error.
func (l Limits) Exceeded(paths, references int, bytes int64) *LimitError {
	switch {
	case l.Paths > 0 && paths > l.Paths:
		return &LimitError{Limit: "paths", Max: int64(l.Paths)}
	case l.References > 0 && references > l.References:
		return &LimitError{Limit: "references", Max: int64(l.References)}
	case l.Bytes > 0 && bytes > l.Bytes:
		return &LimitError{Limit: "bytes of memory", Max: l.Bytes}
	}
	return nil
}

// A meter counts the derivations that a walk loads, and their inputs.
type meter struct {
	limits Limits
	source string // the name of the loader in errors

	paths, inputs int
	bytes         int64 // see [Limits.Bytes]
}

// newMeter returns a meter for a loader. If limits is nil, it uses the limits of the loader.
func newMeter(l Loader, limits *Limits) *meter {
	m := &meter{limits: ForeignLimits(), source: "the loader"}
	if limited, ok := l.(LimitedLoader); ok {
		m.limits, m.source = limited.ClosureLimits()
	}
	if limits != nil {
		m.limits = *limits
	}
	return m
}

// The memory of a derivation in bytes, a little more than measured.
const (
	memberBytes = 320 // an input that is not loaded yet, without its path
	parsedBytes = 384 // a loaded derivation, without its text
)

// found counts an input that a walk from root has found. The error is a [*LimitError].
func (m *meter) found(root, input storepath.Path) error {
	m.paths++
	return m.use(root, input, memberBytes+len(input))
}

// loaded counts the derivation at path, whose text has length bytes. The error is a [*LimitError].
func (m *meter) loaded(root, path storepath.Path, d *Derivation, length int) error {
	m.inputs += d.InputDerivations.Len()
	return m.use(root, path, parsedBytes+length+length/2) // slices and strings that point into the text take about half its length
}

func (m *meter) use(root, path storepath.Path, bytes int) error {
	m.bytes += 2 * int64(bytes)
	if e := m.limits.Exceeded(m.paths, m.inputs, m.bytes); e != nil {
		e.Root, e.Path, e.Source = root, path, m.source
		return e
	}
	return nil
}
