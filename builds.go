package pix

import (
	"cmp"
	"context"
	"fmt"
	"runtime"

	"pix/builder"
	"pix/builder/sandbox"
	"pix/localstore"
	"pix/realise"
	"pix/store"
)

// Builds are the settings with which a store in a directory builds derivations.
type Builds struct {
	// MaxJobs is how many derivations are built at once; 0 is one for each processor.
	MaxJobs int

	// KeepGoing continues after a failure with everything that does not depend on it.
	KeepGoing bool

	// Remote are the settings for builds on other machines; nil builds everything on this one.
	Remote *realise.Remote

	// Options are the options of each build. If their Shell is "", builders get a shell of this machine: see
	// [sandbox.FindShell]. With recursive-nix among their SystemFeatures, builders that require it can use the store.
	Options builder.Options
}

// withBuilds returns a store that builds what s lacks, if the options say so.
func (o *Options) withBuilds(s store.Store, local *localstore.Options) store.Store {
	settings := o.BuildSettings
	var slots *realise.Slots
	if o.MaxJobs > 0 {
		slots = realise.NewSlots(o.MaxJobs)
	}
	if local.ReadOnly || settings == nil && o.Builds == nil {
		return s
	}
	if settings == nil {
		b := *o.Builds
		if b.MaxJobs == 0 {
			b.MaxJobs = runtime.GOMAXPROCS(0)
		}
		b.Options.Shell = cmp.Or(b.Options.Shell, sandbox.FindShell())
		slots = realise.NewSlots(b.MaxJobs)
		settings = func(ctx context.Context, s store.Store) (*realise.Settings, error) {
			executor, err := NewBuilder(s, &b.Options)
			return &realise.Settings{
				MaxJobs: b.MaxJobs, KeepGoing: b.KeepGoing, Remote: b.Remote, Limits: b.Options.Limits(),
				Executor: executor, Serve: ServeBuilder,
			}, err
		}
	}
	return realise.New(s, &realise.Options{Settings: settings, Slots: slots, OpenMachine: o.openMachine})
}

// NewBuilder returns a builder for a store in a directory, or for one that wraps it. The error is a
// [*store.UnsupportedError] for any other store.
func NewBuilder(s store.Store, opts *builder.Options) (*builder.Builder, error) {
	local, ok := store.As[builder.Store](s)
	if !ok {
		return nil, &store.UnsupportedError{Store: s, What: fmt.Sprintf("build in %s", s.Dir())}
	}
	return builder.New(local, opts), nil
}
