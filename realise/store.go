package realise

import (
	"context"
	"errors"
	"net"

	"pix/activity"
	"pix/builder"
	"pix/derivation"
	"pix/nixconf"
	"pix/store"
	"pix/storepath"
)

// An Executor builds one derivation whose inputs are valid. A failed build is a result; an error ends the whole call.
// The processes of the build have ended when Build returns.
type Executor interface {
	Build(ctx context.Context, req *builder.Request) (*store.BuildResult, error)
}

// Settings are the settings of one call.
type Settings struct {
	// MaxJobs is how many derivations the call builds at once, Nix's max-jobs. 0 builds nothing.
	MaxJobs int

	// KeepGoing continues after a failure with everything that does not depend on it, Nix's keep-going.
	KeepGoing bool

	// Realisations registers the paths of all outputs, not only of those whose paths depend on contents, and resolves
	// derivations with fixed outputs. Nix does both with the experimental feature ca-derivations, and its clients then
	// expect the first.
	Realisations bool

	// Require returns an error if an experimental feature of Nix is not enabled. The reason says what needs it, and may be
	// "". If Require is nil, all features are enabled.
	Require func(feature, reason string) error

	// Client names who makes the call: slots are given to clients in turn.
	Client string

	// Limits end the builds of this call, here and on other machines. A build that the call shares with others goes on for
	// them. Executors obey the Watcher of a request instead of limits of their own.
	Limits builder.Limits

	// BuildKey is equal for two calls that build a derivation in the same way, with the same machines and hooks, whatever
	// their limits. Only such calls share a build: see [builder.Options.Key].
	BuildKey string

	// Executor builds the derivations. It must work until the session ends that [Options.Settings] got.
	Executor Executor

	// Serve serves s to the clients of a builder with the feature recursive-nix, until ctx ends, and closes the
	// listener. All calls of s have ended when it returns. A builder with the feature builder-rpc-v0 gets a
	// [store.OutputSubmitter]. Nil is an error for such builders.
	Serve func(ctx context.Context, l net.Listener, s store.Store) error

	// Remote are the settings for builds on other machines; nil builds everything here. Builds on other machines take no slot.
	Remote *Remote

	// AfterBuild is called after each build with the derivation that was built, and all of its outputs, which are valid. It
	// runs without a slot, on a goroutine of its own. Everything that needs the outputs waits for it. Its error ends the
	// call, also with KeepGoing. Nil does nothing. [builder.PostBuildHook] is Nix's hook.
	AfterBuild func(ctx context.Context, drv storepath.Path, outputs []storepath.Path) error
}

// Options say how a store builds.
type Options struct {
	// Settings returns the settings of one call. s is the store in which the call builds: the store below, or a
	// session of it, which may end after the call. Settings runs only if the call has a derivation to build, or a
	// dynamic path.
	Settings func(ctx context.Context, s store.Store) (*Settings, error)

	// OpenMachine opens the store of a machine of [Settings.Remote]. The store builds derivations.
	OpenMachine func(ctx context.Context, m *nixconf.Machine) (store.Store, error)

	// Slots limit the builds of all calls on this machine; nil limits each call by its own settings only.
	Slots *Slots
}

// A Store adds building to another store.
type Store struct {
	store.Store
	*shared
	session bool     // closing it leaves the others open
	outer   *nesting // the build whose builder uses the store; nil for other callers
}

// shared is the state that all sessions of a store share.
type shared struct {
	opts     Options
	running  running
	machines machines
}

var (
	_ store.Builder           = (*Store)(nil)
	_ store.ResultBuilder     = (*Store)(nil)
	_ store.DerivationBuilder = (*Store)(nil)
	_ store.Sessioner         = (*Store)(nil)
	_ store.Limiter           = (*Store)(nil)
)

// New returns a store that builds the paths that s lacks and cannot substitute. It forwards everything else to s. Its
// Close closes s. The store s must be a [store.MissingQuerier], a [store.OutputQuerier] and a [store.NARReader].
func New(s store.Store, opts *Options) *Store {
	return &Store{Store: s, shared: &shared{opts: *opts}}
}

// Unwrap returns the store below.
func (s *Store) Unwrap() store.Store { return s.Store }

// ClosureLimits implements [store.Limiter] with the limits of the store below.
func (s *Store) ClosureLimits() (store.Limits, store.Store) { return store.LimitsOf(s.Store), s }

// Session returns a session of the store. If the store below has sessions, the temporary roots of the session end
// when it is closed.
func (s *Store) Session(ctx context.Context) (store.Store, error) {
	sessions, ok := store.As[store.Sessioner](s.Store)
	if !ok {
		return &Store{Store: s.Store, shared: s.shared, session: true}, nil
	}
	below, err := sessions.Session(ctx)
	if err != nil {
		return nil, err
	}
	return &Store{Store: below, shared: s.shared, session: true, outer: s.outer}, nil
}

// Close closes the store below, or its session.
func (s *Store) Close() error {
	if _, has := store.As[store.Sessioner](s.Store); s.session && !has {
		return nil
	}
	if s.session {
		return s.Store.Close()
	}
	return errors.Join(s.machines.close(), s.Store.Close())
}

// BuildPaths makes paths valid by substituting or building. The error is a [*store.BuildError]. For one failure it
// has the text of Nix. For several it names all failed paths, and the handler of ctx receives the error of each.
func (s *Store) BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) error {
	results, err := s.realise(ctx, paths, mode)
	if err != nil {
		return buildError(ctx, paths, err)
	}
	if err := store.ResultsError(activity.HandlerOf(ctx), results); err != nil {
		return buildError(ctx, paths, err)
	}
	return nil
}

// logError reports an error that is not the result of the call.
func logError(h activity.Handler, message string) {
	if h != nil {
		h.HandleEvent(activity.ErrorLog(message))
	}
}

// buildError returns the error of a call. It does not wrap cancellations and unsupported operations.
func buildError(ctx context.Context, paths []derivation.DerivedPath, err error) error {
	if ctx.Err() != nil || errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return &store.BuildError{Paths: paths, Err: withoutBuildError(err)}
}

// withoutBuildError removes the paths that the store below was asked for from an error. The caller did not choose them.
func withoutBuildError(err error) error {
	if failed, ok := errors.AsType[*store.BuildError](err); ok {
		return failed.Err
	}
	return err
}

// BuildPathsWithResults is [Store.BuildPaths] with a result for each path, in the order of the paths. It leaves out
// paths that the call did not try because another one failed.
func (s *Store) BuildPathsWithResults(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	results, err := s.realise(ctx, paths, mode)
	if err != nil {
		return nil, withoutBuildError(err)
	}
	tried := results[:0]
	for _, r := range results {
		if r.Status.Succeeded() || r.Message != "" {
			tried = append(tried, r)
		}
	}
	return tried, nil
}

// BuildDerivation builds a derivation whose inputs are valid; the derivation itself need not be. The result has the
// times of the build.
func (s *Store) BuildDerivation(ctx context.Context, path storepath.Path, d *derivation.Derivation, mode store.BuildMode) (*store.BuildResult, error) {
	c := s.newCall(ctx, mode)
	defer c.end()
	result, err := c.buildBasic(path, d)
	if err != nil {
		return nil, c.cause(err)
	}
	return result, nil
}
