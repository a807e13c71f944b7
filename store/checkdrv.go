package store

import (
	"errors"
	"fmt"
	"strings"

	"pix/activity"
	"pix/derivation"
	"pix/storepath"
)

// CheckOutputs checks the outputs of a derivation that is about to become valid at path, and returns
// the paths of those that are known before a build. A user who could register a derivation with a
// wrong output path could make any object the output of any derivation.
//
// It accepts what Nix 2.34 accepts. The path that a fixed output has in the text does not count, nor
// does the variable of an input-addressed output. An output that is deferred and need not be causes
// a warning. The error is an [*activity.Error] in the words of Nix. Inputs may be nil if the kinds of
// the outputs exclude each other.
//
// Source: processDerivationOutputPaths in derivations.cc.
func CheckOutputs(path storepath.Path, d *derivation.Derivation, inputs derivation.InputHashes) (known derivation.Map[string, storepath.Path], warnings []string, err error) {
	c := outputChecker{d: d, inputs: inputs}
	for name, output := range d.Outputs.All() {
		if err := c.check(name, output); err != nil {
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
	hash     *derivation.ModuloHash // nil until it is needed
	known    derivation.Map[string, storepath.Path]
	warnings []string
}

func (c *outputChecker) check(name string, output derivation.Output) error {
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

// checkError adds the trace that Nix adds while it checks a derivation.
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

// ParseDerivation parses the derivation at path. The error has the text of Nix 2.34 where Nix has one,
// and wraps the error of [derivation.ParseAt].
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

// A parseError says that a store object is no derivation.
type parseError struct {
	message string
	err     error
}

func (e *parseError) Error() string { return e.message }
func (e *parseError) Unwrap() error { return e.err }

// nixReason returns why a text is no derivation.
func nixReason(text string, err error) string {
	syntax, ok := errors.AsType[*derivation.SyntaxError](err)
	switch {
	case text == "":
		return "file is empty (possible filesystem corruption)"
	case !ok:
		return err.Error()
	case !strings.HasPrefix(text, "Derive(") && !strings.HasPrefix(text, "DrvWithVersion("):
		return nixStart(text)
	case strings.HasSuffix(syntax.Reason, "does not end"):
		return "unterminated string in derivation"
	case len(syntax.Expected) == len("`x`") && syntax.Expected[0] == '`':
		return fmt.Sprintf("expected string '%c'", syntax.Expected[1])
	}
	return err.Error()
}

// nixStart returns what a text lacks that does not begin as a derivation does.
func nixStart(text string) string {
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
