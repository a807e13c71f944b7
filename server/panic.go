package server

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// A PanicError says that serving a client ended in a panic of the store, of a function in the
// options, or of this package; or that one of them called [runtime.Goexit]. The connection was
// closed, and the server serves the others.
type PanicError struct {
	Value any    // of the panic; nil for runtime.Goexit
	Stack []byte // of the goroutine
}

func (e *PanicError) Error() string {
	if e.Value == nil {
		return "the goroutine that served the client has exited"
	}
	return fmt.Sprintf("panic while a client was served: %v", e.Value)
}

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// newPanicError is called by a deferred function with what recover returned.
func newPanicError(v any) *PanicError { return &PanicError{v, debug.Stack()} }

// errInternal is all that a client learns about a panic.
var errInternal = errors.New("internal error of the daemon; it has closed the connection")

// guard calls a function on a goroutine that belongs to the connection. A panic there ends the
// connection, and not the process.
func (c *conn) guard(f func()) {
	returned := false
	defer func() {
		if !returned {
			c.fail(newPanicError(recover()))
		}
	}()
	f()
	returned = true
}

// panicked is called by a deferred function when serving the client has ended in a panic. It tells
// the client, and returns the error.
func (c *conn) panicked(v any) error {
	err := newPanicError(v)
	return c.refuse(tellable(errInternal), err)
}
