package server

import (
	"errors"
	"fmt"

	"pix/activity"
	"pix/protocol"
	"pix/store"
)

// A refusal is an error before any work. The client is told twice and cut off.
type refusal struct{ message string }

func (e *refusal) Error() string { return e.message }

// refuse says why a request is not even begun, in the words of Nix.
func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// unsupported says that the store cannot do what is asked, in the words of Nix 2.34.
func unsupported(operation string) error {
	return fmt.Errorf("operation '%s' is not supported by this store: %w", operation, errors.ErrUnsupported)
}

// tellable returns err as clients are told it. An error that came from another daemon, or
// that a store has in that form, is passed on as it is.
func tellable(err error) *activity.Error {
	var said *activity.Error
	if errors.As(err, &said) {
		return said
	}
	message := err.Error()
	if cannot, ok := errors.AsType[*store.UnsupportedError](err); ok { // names a type of Go
		message = fmt.Sprintf("this store cannot %s", cannot.What)
	}
	return &activity.Error{Level: activity.LevelError, Message: message, Status: 1}
}

// unreadable says, in the words of Nix where it has any, why a request could not be read.
func unreadable(err error) *activity.Error {
	var unknown *protocol.UnsupportedError
	var bad *protocol.Error
	switch {
	case errors.As(err, &unknown):
		err = fmt.Errorf("invalid operation: %w", unknown)
	case errors.Is(err, errTooLarge):
		err = errTooLarge
	case errors.As(err, &bad):
		err = fmt.Errorf("%s: %w", bad.What, bad.Err)
	}
	return tellable(err)
}
