package daemon

import (
	"context"
	"errors"
	"fmt"

	"pix/protocol"
)

// ErrConnLost is what every error of a call is whose connection broke before the answer
// was there. Whether the daemon did what was asked is not known.
var ErrConnLost = errors.New("connection to the Nix daemon lost")

// ErrClosed is why a connection is broken that was closed by [Conn.Close].
var ErrClosed = errors.New("connection closed")

// A LostError says during which operation a connection was lost, and why.
type LostError struct {
	Op  protocol.Op
	Err error
}

func (e *LostError) Error() string { return fmt.Sprintf("%s: %v: %v", e.Op, ErrConnLost, e.Err) }

// Is reports whether target is [ErrConnLost].
func (e *LostError) Is(target error) bool { return target == ErrConnLost }

// Unwrap returns why.
func (e *LostError) Unwrap() error { return e.Err }

// A DialError says that no connection could be made to the daemon, and why.
type DialError struct {
	Addr string // of the socket; "" if the caller brought the connection
	Err  error
}

func (e *DialError) Error() string {
	if e.Addr == "" {
		return fmt.Sprintf("greeting the Nix daemon: %v", e.Err)
	}
	return fmt.Sprintf("connecting to the Nix daemon at '%s': %v", e.Addr, e.Err)
}

// Unwrap returns why.
func (e *DialError) Unwrap() error { return e.Err }

// A hangUp says that the daemon closed the connection after it had said why.
type hangUp struct{ said error }

func (e *hangUp) Error() string { return fmt.Sprintf("the daemon hung up after saying: %v", e.said) }
func (e *hangUp) Unwrap() error { return e.said }

// cancelled returns the error of a call that ended with its context: it is ctx.Err(), and
// the cause if there is one.
func cancelled(ctx context.Context, op protocol.Op) error { return ended(ctx, op.String()) }

// ended is [cancelled] for what is no operation.
func ended(ctx context.Context, what string) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != err {
		return fmt.Errorf("%s: %w: %w", what, err, cause)
	}
	return fmt.Errorf("%s: %w", what, err)
}
