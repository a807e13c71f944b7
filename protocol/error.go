package protocol

import (
	"errors"
	"fmt"
	"io/fs"
)

// An Error reports a received value that violates the protocol, or a value that cannot be sent.
type Error struct {
	What   string // the value with the error, such as "QueryPathInfo reply: references"
	Offset int64  // of the value, in bytes from the start of the stream; -1 when sending
	Err    error  // the reason
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("worker protocol, %s: %v", e.What, e.Err)
	}
	return fmt.Sprintf("worker protocol, %s at offset %d: %v", e.What, e.Offset, e.Err)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// An UnsupportedError reports that the other side is too old for a request, or lacks a feature.
// Nothing was sent. It matches [errors.ErrUnsupported].
type UnsupportedError struct {
	What    string   // such as "operation QueryMissing"
	Have    Version  // the negotiated version
	Since   Version  // the required version; 0 if a feature is missing
	Feature Features // the missing feature, or 0
}

func (e *UnsupportedError) Error() string {
	if e.Feature != 0 {
		return fmt.Sprintf("the daemon does not support %s: it lacks the feature %s", e.What, e.Feature)
	}
	if e.Since == 0 {
		return fmt.Sprintf("the daemon does not support %s", e.What)
	}
	return fmt.Sprintf("the daemon does not support %s: it speaks protocol %s, %s is needed", e.What, e.Have, e.Since)
}

// Is reports whether target is [errors.ErrUnsupported].
func (e *UnsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// A TrustError reports that a request was not sent, since the daemon does not trust the user
// and would refuse it. It matches [fs.ErrPermission].
type TrustError struct{ Op Op }

func (e *TrustError) Error() string {
	return fmt.Sprintf("the daemon would refuse operation %s: it is for trusted users only", e.Op)
}

// Is reports whether target is [fs.ErrPermission].
func (e *TrustError) Is(target error) bool { return target == fs.ErrPermission }
