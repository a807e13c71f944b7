package profile

import (
	"fmt"
	"io/fs"
)

// A NotFoundError reports that a profile does not exist: it has neither a symlink nor a generation. It is [fs.ErrNotExist].
type NotFoundError struct{ Link string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("there is no profile '%s'", e.Link) }

// Is makes the error equal to [fs.ErrNotExist].
func (e *NotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// A LinkError reports why a file cannot be a profile, or cannot be changed.
type LinkError struct{ Link, Reason string }

func (e *LinkError) Error() string {
	return fmt.Sprintf("'%s' cannot be used as a profile: %s", e.Link, e.Reason)
}

// A GenerationError reports that a profile does not have a generation.
type GenerationError struct {
	Link   string
	Number uint64 // 0 if no number was given
	Reason string
}

func (e *GenerationError) Error() string { return fmt.Sprintf("profile '%s' %s", e.Link, e.Reason) }

// A CurrentError reports that a selection contains the current generation, which is never deleted.
type CurrentError struct {
	Link   string
	Number uint64
}

func (e *CurrentError) Error() string {
	return fmt.Sprintf("generation %d of profile '%s' is the current one and is not deleted: switch to another first", e.Number, e.Link)
}
