package substitute

import (
	"pix/store"
	"pix/storepath"
)

// An Error reports that no substituter provides a path. Its message is the one of Nix.
type Error struct {
	Path   storepath.Path
	Status store.BuildStatus // NoSubstituters, or DependencyFailed if a reference is not available
	Reason string

	// Failed reports that a substituter listed the path but failed to provide it, so that another
	// attempt may succeed.
	Failed bool
}

func (e *Error) Error() string { return e.Reason }
