package server

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// A PanicError is the error of [Serve] after a panic, or a call of [runtime.Goexit], of the store, of a
// function in the options, or of this package. The connection was closed; the server keeps serving the
// others.
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

// errInternal is the error that a client gets after a panic. It has no details, which may be secret.
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

// panicked is called by a deferred function when serving the client has ended in a panic. It sends
// errInternal to the client, and returns the [*PanicError].
func (c *conn) panicked(v any) error {
	err := newPanicError(v)
	return c.refuse(tellable(errInternal), err)
}
