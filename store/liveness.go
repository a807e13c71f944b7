package store

import (
	"context"
	"fmt"

	"pix/storepath"
)

// A LivenessExplainer knows why paths are not garbage.
type LivenessExplainer interface {
	// ExplainLiveness returns why a path is live, or nil if it is not. The error is a
	// [*NotFoundError] if the path is not valid.
	ExplainLiveness(ctx context.Context, path storepath.Path) (*Liveness, error)
}

// A Liveness is why a path is live: a root, and a way from it to the path.
type Liveness struct {
	Root  Root
	Chain []LivenessStep // from the root's path to the path itself; they may be the same
}

// A LivenessStep is a path, and why the step before it needs it.
type LivenessStep struct {
	Path   storepath.Path
	Needed LivenessReason // for the first step [LiveRoot]
}

// A LivenessReason is why one path keeps another alive.
type LivenessReason uint8

const (
	LiveRoot      LivenessReason = iota // a root leads to it
	LiveReference                       // the one before refers to it
	LiveDeriver                         // it made the one before (keep-derivations)
	LiveOutput                          // the one before makes it (keep-outputs)
)

// String returns a word such as "reference".
func (r LivenessReason) String() string {
	switch r {
	case LiveRoot:
		return "root"
	case LiveReference:
		return "reference"
	case LiveDeriver:
		return "deriver"
	case LiveOutput:
		return "output"
	}
	return fmt.Sprintf("LivenessReason(%d)", uint8(r))
}

// ExplainLiveness says why a path in s is not garbage; see [LivenessExplainer].
func ExplainLiveness(ctx context.Context, s Store, path storepath.Path) (*Liveness, error) {
	if e, ok := As[LivenessExplainer](s); ok {
		return e.ExplainLiveness(ctx, path)
	}
	return nil, unsupported(s, "say why a path is live")
}
