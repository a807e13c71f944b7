package substitute

import (
	"pix/store"
	"pix/storepath"
)

// An Error says that a path cannot be had from any substituter, in the words of Nix.
type Error struct {
	Path   storepath.Path
	Status store.BuildStatus // NoSubstituters, or DependencyFailed if it refers to such a path
	Reason string

	// Failed says that a substituter said that it has the path, but did not give it. Then it
	// may go better the next time.
	Failed bool
}

func (e *Error) Error() string { return e.Reason }
