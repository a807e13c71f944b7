package derivation

import (
	"fmt"

	"pix/storepath"
)

// A SyntaxError reports why and where a text is not a derivation.
type SyntaxError struct {
	Offset   int    // byte offset in the text
	Reason   string // why the text is invalid there
	Expected string // the text that was expected there; "" if Reason says it
}

func (e *SyntaxError) Error() string {
	if e.Expected == "" {
		return fmt.Sprintf("derivation, offset %d: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("derivation, offset %d: %s, expected %s", e.Offset, e.Reason, e.Expected)
}

// A NotCanonicalError reports that no released Nix would have written the text of a derivation
// like this, and where the first difference is.
type NotCanonicalError struct {
	Offset int
	Reason string
}

func (e *NotCanonicalError) Error() string {
	return fmt.Sprintf("derivation is not canonical, offset %d: %s", e.Offset, e.Reason)
}

// A MissingInputError reports that the modulo hash of an input is needed but unknown.
type MissingInputError struct {
	Name  string         // name of the derivation that is hashed
	Input storepath.Path // the input without a hash
}

func (e *MissingInputError) Error() string {
	return fmt.Sprintf("derivation %q: the hash of its input %s is missing", e.Name, e.Input)
}

// An InvalidError reports why Nix would not build a derivation.
type InvalidError struct {
	Name   string // name of the derivation
	Field  string // such as `outputs "dev"` or `env "out"`; "" for the whole derivation
	Reason string
	// Want is the expected value and Got the actual one, if they are known. Otherwise Want is
	// "".
	Want, Got string
}

func (e *InvalidError) Error() string {
	where := fmt.Sprintf("derivation %q", e.Name)
	if e.Field != "" {
		where += ", " + e.Field
	}
	if e.Want == "" {
		return where + ": " + e.Reason
	}
	return fmt.Sprintf("%s: %s, expected %q, found %q", where, e.Reason, truncate(e.Want), truncate(e.Got))
}

// truncate shortens a value in an error to a few lines.
func truncate(s string) string {
	const most = 320
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
