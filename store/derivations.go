package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"pix/activity"
	"pix/derivation"
	"pix/nar"
	"pix/storepath"
	"pix/wire"
)

// A DerivationLender is a [Store] that limits how many users read large derivations at a time,
// because these need much memory. LendDerivations returns the same store for reading. A user
// calls release when it holds no derivation, and may continue to read afterwards.
type DerivationLender interface {
	LendDerivations() (s Store, release func())
}

// LendDerivations returns s for reading derivations; see [DerivationLender].
func LendDerivations(s Store) (lent Store, release func()) {
	if l, ok := As[DerivationLender](s); ok {
		return l.LendDerivations()
	}
	return s, func() {}
}

// Derivations returns a loader of the derivations in s, which must be a [NARReader]. For an
// invalid path the error matches [fs.ErrNotExist], as required of a loader. The loader has the
// [Limits] of s. If s is a [ManyNARReader] and an [InfosQuerier], it is a [derivation.BatchLoader].
func Derivations(s Store) derivation.Loader {
	l := storeLoader{s}
	r, _ := As[NARReader](s)
	if many, ok := r.(manyReader); ok { // not of a store that r wraps: r may return other archives
		return &batchLoader{l, many}
	}
	return l
}

type storeLoader struct{ s Store }

// ClosureLimits implements [derivation.LimitedLoader].
func (l storeLoader) ClosureLimits() (limits Limits, source string) {
	return LimitsOf(l.s), nameOf(l.s)
}

// LoadDerivation implements [derivation.Loader].
func (l storeLoader) LoadDerivation(ctx context.Context, path storepath.Path) (string, error) {
	r, ok := As[NARReader](l.s)
	if !ok {
		return "", unsupported(l.s, "read the contents of paths")
	}
	if t, ok := r.(DerivationTextReader); ok { // not of a store that r wraps: r may return other archives
		if text, err := t.DerivationText(ctx, path); err == nil {
			return text, nil
		}
	}
	archive, err := r.NARFromPath(ctx, path)
	if errors.Is(err, ErrNotFound) {
		return "", fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	if err != nil {
		return "", err
	}
	defer archive.Close()
	return fileIn(archive, path)
}

// firstRead is the number of bytes for which fileIn allocates memory before it has read them.
const firstRead = 64 << 10

// archiveReaders has readers with their buffers. With a new buffer for each derivation, reading a closure of small derivations took
// 2.1 times the processor time.
var archiveReaders = sync.Pool{New: func() any { return wire.NewReader(nil, 16<<10) }}

// fileIn returns the contents of an archive with a single file. It reads to the end of the
// archive, where the store reports whether it is correct.
func fileIn(archive io.Reader, path storepath.Path) (string, error) {
	in := archiveReaders.Get().(*wire.Reader)
	defer archiveReaders.Put(in)
	in.Reset(archive)
	defer in.Reset(nil)
	r := nar.NewReader(in)
	entry, err := r.Next()
	if err != nil {
		return "", err
	}
	if entry.Kind != nar.Regular {
		return "", fmt.Errorf("'%s' is not a derivation: it is a %s", path, entry.Kind)
	}
	if entry.Size > derivation.MaxFile {
		return "", fmt.Errorf("derivation '%s' is too large: it has %d bytes, and the limit is %d", path, entry.Size, derivation.MaxFile)
	}
	text := make([]byte, min(entry.Size, firstRead))
	if _, err := io.ReadFull(r, text); err != nil {
		return "", err
	}
	if entry.Size > firstRead {
		rest, err := io.ReadAll(r)
		if err != nil {
			return "", err
		}
		text = append(text, rest...)
	}
	if _, err := r.Next(); err != io.EOF {
		return "", fmt.Errorf("the archive of '%s' has no end: %w", path, err)
	}
	_, err = io.Copy(io.Discard, archive)
	return string(text), err
}

// CheckOutputs checks the outputs of a derivation that is about to become valid at path. It
// returns the paths of outputs that are known before a build. A user who could register a
// derivation with a wrong output path could make any object the output of any derivation.
//
// It accepts what Nix 2.34 accepts. It ignores the path of a fixed output in the text, and the
// variable of an input-addressed output. An output that is deferred without need causes a
// warning. The error is an [*activity.Error] with the text of Nix. inputs may be nil if the
// kinds of the outputs exclude each other.
//
// Source: processDerivationOutputPaths in derivations.cc.
func CheckOutputs(path storepath.Path, d *derivation.Derivation, inputs derivation.InputHashes) (known derivation.Map[string, storepath.Path], warnings []string, err error) {
	c := outputChecker{d: d, inputs: inputs}
	for name, output := range d.Outputs.All() {
		if err := c.checkOutput(name, output); err != nil {
			return known, c.warnings, checkError(path, err)
		}
	}
	if _, err := d.Kind(); err != nil {
		return known, c.warnings, checkError(path, err)
	}
	return c.known, c.warnings, nil
}

// An outputChecker checks the outputs of a derivation one by one.
type outputChecker struct {
	d        *derivation.Derivation
	inputs   derivation.InputHashes
	hash     *derivation.ModuloHash // nil until the first use
	known    derivation.Map[string, storepath.Path]
	warnings []string
}

func (c *outputChecker) checkOutput(name string, output derivation.Output) error {
	switch output.Kind() {
	case derivation.Fixed:
		want, err := c.d.Dir.FixedOutputPath(storepath.OutputName(c.d.Name, name), output.ContentAddress(), storepath.References{})
		if err != nil {
			return err
		}
		c.known.Set(name, want)
		return c.checkVariable(name, want)
	case derivation.InputAddressed, derivation.Deferred:
		return c.checkHashed(name, output)
	}
	return nil
}

// checkHashed checks an output whose path follows from the hash of the derivation.
func (c *outputChecker) checkHashed(name string, output derivation.Output) error {
	if c.hash == nil {
		h, err := c.d.HashModulo(derivation.ForOutputs, c.inputs, nil)
		if err != nil {
			return err
		}
		c.hash = &h
	}
	isDeferred := output.Kind() == derivation.Deferred
	if c.hash.Deferred {
		if isDeferred {
			return nil
		}
		return fmt.Errorf("derivation has incorrect output '%s', should be deferred", output.Path())
	}
	want, err := c.d.Dir.OutputPath(name, c.hash.Hash, c.d.Name)
	switch {
	case err != nil:
		return err
	case isDeferred:
		c.warnings = append(c.warnings, fmt.Sprintf("derivation has incorrect deferred output, should be '%s'.\nThis will be an error in future versions of Nix; compatibility of CA derivations will be broken.", want))
		return c.checkVariable(name, want)
	case output.Path() != want:
		return fmt.Errorf("derivation has incorrect output '%s', should be '%s'", output.Path(), want)
	}
	c.known.Set(name, want)
	return nil
}

// checkVariable checks that the environment has the path of an output.
func (c *outputChecker) checkVariable(output string, want storepath.Path) error {
	switch value, ok := c.d.Env.Get(output); {
	case !ok:
		return fmt.Errorf("derivation has missing environment variable '%s', should be '%s' but is not present", output, want)
	case value != string(want):
		return fmt.Errorf("derivation has incorrect environment variable '%s', should be '%s' but is actually '%s'", output, want, value)
	}
	return nil
}

// checkError adds the trace of Nix to an error of CheckOutputs.
func checkError(path storepath.Path, err error) error {
	message := err.Error()
	if invalid, ok := errors.AsType[*derivation.InvalidError](err); ok {
		message = invalid.Reason
	}
	return &activity.Error{
		Message: message, Status: 1,
		Traces: []string{fmt.Sprintf("while checking derivation '%s'", path)},
	}
}

// ReadDerivation reads the derivation at path from s, which must be a [NARReader]. The error is a
// [*NotFoundError] if the path is not valid, an error of the store, or an error of [ParseDerivation].
func ReadDerivation(ctx context.Context, s Store, path storepath.Path) (*derivation.Derivation, error) {
	text, err := Derivations(s).LoadDerivation(ctx, path)
	if err != nil {
		return nil, err
	}
	return ParseDerivation(path, text)
}

// ParseDerivation parses the derivation at path. The error has the text of Nix 2.34 where Nix
// has one, and wraps the error of [derivation.ParseAt].
func ParseDerivation(path storepath.Path, text string) (*derivation.Derivation, error) {
	d, err := derivation.ParseAt(path, text)
	if err == nil {
		return d, nil
	}
	reason := nixReason(text, err)
	if reason != noStart {
		reason = fmt.Sprintf("error parsing derivation '%s': %s", path, reason)
	}
	return nil, &parseError{reason, err}
}

// noStart is the only error that Nix reports without the path of the derivation.
const noStart = "derivation does not start with 'Derive' or 'DrvWithVersion'"

// A parseError reports that a store object is not a derivation.
type parseError struct {
	message string
	err     error
}

func (e *parseError) Error() string { return e.message }

func (e *parseError) Unwrap() error { return e.err }

// nixReason returns Nix's reason why a text is not a derivation.
func nixReason(text string, err error) string {
	syntax, ok := errors.AsType[*derivation.SyntaxError](err)
	switch {
	case text == "":
		return "file is empty (possible filesystem corruption)"
	case !ok:
		return err.Error()
	case !strings.HasPrefix(text, "Derive(") && !strings.HasPrefix(text, "DrvWithVersion("):
		return missingStart(text)
	case strings.HasSuffix(syntax.Reason, "does not end"):
		return "unterminated string in derivation"
	case len(syntax.Expected) == len("`x`") && syntax.Expected[0] == '`':
		return fmt.Sprintf("expected string '%c'", syntax.Expected[1])
	}
	return err.Error()
}

// missingStart returns Nix's error for a text that does not start like a derivation.
func missingStart(text string) string {
	switch {
	case !strings.HasPrefix(text, "D"):
		return "expected string 'D'"
	case strings.HasPrefix(text, "De"):
		return "expected string 'erive('"
	case strings.HasPrefix(text, "Dr"):
		return "expected string 'rvWithVersion('"
	}
	return noStart
}
