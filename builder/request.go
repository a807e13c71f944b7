package builder

import (
	"context"
	"fmt"
	"net"
	"time"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A Request asks for the outputs of one derivation. The paths that the derivation needs must be valid, and roots must
// protect them from collectors.
type Request struct {
	// Path is the store path of the derivation, and Derivation its contents; all inputs are resolved.
	Path       storepath.Path
	Derivation *derivation.Derivation

	// Inputs are the outputs of input derivations that the derivation uses, by derivation and output name.
	// Together with the input sources, they are the roots of the input closure.
	Inputs map[storepath.Path]map[string]storepath.Path

	// Wanted are the names of the outputs that the caller wants. Nil is all.
	Wanted []string

	Mode store.BuildMode

	// Watcher observes the build instead of the limits of the options, and ends it by the context of [Builder.Build]. If the
	// cause of that context is a [*Failure], it is the result. Nil means that the limits of the options apply.
	Watcher Watcher

	// Serve serves a store to a builder with the feature recursive-nix, until ctx ends, and closes the listener. The
	// store knows the paths of the scope. Everything that the clients have started ends before Serve returns. Nil makes
	// such a derivation an error.
	Serve func(ctx context.Context, l net.Listener, scope *Scope) error

	// Later gets a function that removes the empty directories of a build that has succeeded. The caller may run it after
	// [Builder.Build] has returned, but before the temporary roots of the derivation end. Nil removes them before Build returns.
	Later func(remove func() error)
}

// LockNames returns the names of the locks of the outputs, as in Nix: see [Store].LockObjects.
func (r *Request) LockNames() ([]string, error) {
	var names []string
	for output, o := range r.Derivation.Outputs.All() {
		name := r.Path.Base() + "." + output
		path, err := staticPath(r.Derivation, output, o)
		if err != nil {
			return nil, err
		}
		if path != "" {
			name = path.Base()
		}
		names = append(names, name)
	}
	return names, nil
}

// A Watcher observes the process of a build. Its methods return at once.
type Watcher interface {
	// Started is called just before the builder is started.
	Started()

	// Wrote is called when the builder has written to its log, with the size of the log in bytes. An error ends the
	// build, and the log does not get these bytes.
	Wrote(size uint64) error

	// Ended is called when the builder has ended. The outputs are checked and registered afterwards.
	Ended()
}

// Limits end a build that takes too long or writes too much. 0 is no limit.
type Limits struct {
	Timeout, MaxSilentTime time.Duration // whole seconds
	MaxLogSize             uint64        // in bytes
}

// Limits returns the limits of the options.
func (o *Options) Limits() Limits { return Limits{o.Timeout, o.MaxSilentTime, o.MaxLogSize} }

// TimedOut returns the failure of a build that has run, or was silent, for longer than the limit.
func TimedOut(limit time.Duration) *Failure {
	return &Failure{Status: store.TimedOut, Message: fmt.Sprintf("timed out after %d seconds", limit/time.Second)}
}

// LogTooLarge returns the failure of a build that has written more than limit bytes to its log.
func LogTooLarge(drv storepath.Path, limit uint64) *Failure {
	return &Failure{Status: store.LogLimitExceeded, Message: fmt.Sprintf("building derivation '%s' killed after writing more than %d bytes of log output", drv, limit)}
}
