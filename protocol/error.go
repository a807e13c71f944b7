package protocol

import (
	"errors"
	"fmt"
	"io/fs"
)

// An Error says that what was received, or was to be sent, is not of the protocol.
type Error struct {
	What   string // the value at fault, such as "QueryPathInfo reply: references"
	Offset int64  // of the value in the stream, in bytes since it began; -1 when sending
	Err    error  // what is wrong with it
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("worker protocol, %s: %v", e.What, e.Err)
	}
	return fmt.Sprintf("worker protocol, %s at offset %d: %v", e.What, e.Offset, e.Err)
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// An UnsupportedError says that the other side is too old for something, or lacks a
// feature. It is [errors.ErrUnsupported]. Nothing was sent.
type UnsupportedError struct {
	What    string   // such as "operation QueryMissing"
	Have    Version  // what was negotiated
	Since   Version  // what would be needed; 0 if a feature is missing
	Feature Features // the feature that is missing, or 0
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

// A TrustError says that a request was not sent, because the daemon does not trust the user
// and would refuse it. It is [fs.ErrPermission].
type TrustError struct{ Op Op }

func (e *TrustError) Error() string {
	return fmt.Sprintf("the daemon would refuse operation %s: it is for trusted users only", e.Op)
}

// Is reports whether target is [fs.ErrPermission].
func (e *TrustError) Is(target error) bool { return target == fs.ErrPermission }
