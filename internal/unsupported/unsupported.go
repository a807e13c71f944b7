// Package unsupported makes errors that match [errors.ErrUnsupported] without its text, "unsupported
// operation", which tells a user nothing.
package unsupported

import (
	"errors"
	"fmt"
)

type unsupportedError struct{ text string }

func (e *unsupportedError) Error() string        { return e.text }
func (e *unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// Errorf returns an error with a formatted text that matches [errors.ErrUnsupported]. The text says what
// is not possible, and what to do instead if there is something.
func Errorf(format string, args ...any) error {
	return &unsupportedError{fmt.Sprintf(format, args...)}
}
