package derivation

import (
	"fmt"

	"pix/storepath"
)

// Limits bound how much of a closure is taken from its source. A closure is as large as the source
// claims: one that invents two new paths for each path that it is asked about would fill the memory
// of whoever follows them. A limit of 0 is no limit.
//
// They are counted as each answer arrives. So one answer more than fits is in memory, and those that
// are under way.
type Limits struct {
	// Paths is how many paths a closure may have. A path counts as soon as something refers to it.
	Paths int

	// References is how many references all paths may have together, with duplicates.
	References int

	// Bytes is how much memory the closure may take. What is held counts twice, because the garbage
	// collector lets the heap grow to twice what is in use.
	Bytes int64
}

// OwnLimits returns the limits of a closure from a source of one's own: 2^22 paths and 2^26
// references, and no limit of bytes. Such a source is a directory of derivations, or a store whose
// database this program writes: what it knows was checked when it was added.
func OwnLimits() Limits { return Limits{Paths: 1 << 22, References: 1 << 26} }

// ForeignLimits returns the limits of a closure from any other source, such as a binary cache or a
// daemon: 2^20 paths and 256 MiB.
func ForeignLimits() Limits { return Limits{Paths: 1 << 20, Bytes: 256 << 20} }

// A LimitError says that a source claims a larger closure than [Limits] allow.
type LimitError struct {
	Limit  string         // which one: "paths", "references" or "bytes of memory"
	Max    int64          // how many are allowed
	Root   storepath.Path // from which the paths were reached that are too many
	Path   storepath.Path // what the source said of it was too much
	Source string         // what claims them, for people
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("the closure of '%s' in %s takes more than %d %s, which is the limit", e.Root, e.Source, e.Max, e.Limit)
}

// Exceeded returns which of the limits that many paths, references and bytes are beyond, without saying
// where, or nil.
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

// A meter counts what a loader claims, for a walk of its derivations.
type meter struct {
	limits Limits
	source string // what the loader is called

	paths, inputs int
	bytes         int64 // see [Limits.Bytes]
}

// newMeter returns a meter for a loader. Limits that are nil are those of the loader.
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

// What a derivation takes of memory, in bytes. Each was measured, and what is counted is a little
// more than was seen.
const (
	memberBytes = 320 // an input that is not loaded yet, without its path
	parsedBytes = 384 // a derivation that is, without its text
)

// found counts an input that a walk from root has found. The error is a [*LimitError].
func (m *meter) found(root, input storepath.Path) error {
	m.paths++
	return m.use(root, input, memberBytes+len(input))
}

// loaded counts the derivation at path with a text of that length, which it holds on to.
func (m *meter) loaded(root, path storepath.Path, d *Derivation, length int) error {
	m.inputs += d.InputDerivations.Len()
	return m.use(root, path, parsedBytes+length+length/2) // half as much as the text is what points into it
}

func (m *meter) use(root, path storepath.Path, bytes int) error {
	m.bytes += 2 * int64(bytes)
	if e := m.limits.Exceeded(m.paths, m.inputs, m.bytes); e != nil {
		e.Root, e.Path, e.Source = root, path, m.source
		return e
	}
	return nil
}
