package derivation

import (
	"fmt"

	"pix/storepath"
)

// A SyntaxError says that a text is no derivation, where, and why.
type SyntaxError struct {
	Offset   int    // of the byte at fault, from the beginning of the text
	Reason   string // what is wrong there
	Expected string // what had to stand there; "" where that says no more than the reason
}

func (e *SyntaxError) Error() string {
	if e.Expected == "" {
		return fmt.Sprintf("derivation, offset %d: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("derivation, offset %d: %s, expected %s", e.Offset, e.Reason, e.Expected)
}

// A NotCanonicalError says that a text is a derivation, but not one that a released
// Nix has written: where the first difference is, and what it is.
type NotCanonicalError struct {
	Offset int
	Reason string
}

func (e *NotCanonicalError) Error() string {
	return fmt.Sprintf("derivation is not canonical, offset %d: %s", e.Offset, e.Reason)
}

// A MissingInputError says that the modulo hash of an input was needed and not
// given.
type MissingInputError struct {
	Name  string         // of the derivation that was hashed
	Input storepath.Path // whose hash is missing
}

func (e *MissingInputError) Error() string {
	return fmt.Sprintf("derivation %q: the hash of its input %s is missing", e.Name, e.Input)
}

// An InvalidError says why a derivation is not one that Nix would build.
type InvalidError struct {
	Name   string // of the derivation
	Field  string // such as `outputs "dev"` or `env "out"`; "" for the derivation as a whole
	Reason string
	// Want and Got are what was expected and what was found where the two differ; else
	// Want is "".
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
	return fmt.Sprintf("%s: %s, expected %q, found %q", where, e.Reason, abridge(e.Want), abridge(e.Got))
}

// abridge shortens what an error shows of a value to a few lines' worth.
func abridge(s string) string {
	const most = 320
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
