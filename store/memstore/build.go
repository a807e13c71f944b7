package memstore

import (
	"context"
	"errors"
	"fmt"

	"pix/derivation"
	"pix/internal/unsupported"
	"pix/store"
	"pix/storepath"
)

// errNoBuilder is the reason of a failed build if Options.Build is nil.
var errNoBuilder = errors.New("a store in memory does not build")

// BuildPaths builds outputs that are not valid with [Options.Build]. Valid paths need no build. The error is a
// [*store.BuildError].
func (s *Store) BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) error {
	results, err := s.BuildPathsWithResults(ctx, paths, mode)
	var failures []error
	for _, r := range results {
		if !r.Status.Succeeded() {
			failures = append(failures, errors.New(r.Message))
		}
	}
	if err = errors.Join(append(failures, err)...); err != nil {
		return &store.BuildError{Paths: paths, Err: err}
	}
	return nil
}

// BuildPathsWithResults is like [Store.BuildPaths], and returns a result for each path.
func (s *Store) BuildPathsWithResults(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	if mode == store.BuildRepair {
		return nil, unsupported.Errorf("repairing is not possible in a store in memory")
	}
	results := make([]store.KeyedBuildResult, 0, len(paths))
	for _, path := range paths {
		r := s.buildOne(ctx, path, mode)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		results = append(results, store.KeyedBuildResult{Path: path, BuildResult: *r})
	}
	return results, nil
}

func (s *Store) buildOne(ctx context.Context, path derivation.DerivedPath, mode store.BuildMode) *store.BuildResult {
	built, ok := path.(derivation.Built)
	if !ok {
		if err := s.EnsurePath(ctx, path.Base()); err != nil {
			return &store.BuildResult{Status: store.NoSubstituters, Message: err.Error()}
		}
		return &store.BuildResult{Status: store.AlreadyValid}
	}
	drv, ok := built.Drv.(derivation.Opaque)
	if !ok {
		return failed("a store in memory cannot build outputs of a derivation that is itself an output")
	}
	info, err := s.derivationAt(drv.Path)
	if err != nil {
		return failed(err.Error())
	}
	for _, name := range built.Outputs.Names().Slice() {
		if _, ok := info.outputs[name]; !ok {
			return failed(fmt.Sprintf("derivation '%s' does not have output '%s'", drv.Path, name))
		}
	}
	return s.build(ctx, drv.Path, info, built.Outputs, mode)
}

func failed(message string) *store.BuildResult {
	return &store.BuildResult{Status: store.MiscFailure, Message: message}
}

// build builds the wanted outputs of a derivation, unless they are valid.
func (s *Store) build(ctx context.Context, path storepath.Path, info *drvInfo, wanted derivation.OutputsSpec, mode store.BuildMode) *store.BuildResult {
	valid := func() (map[string]store.Realisation, bool) { return s.validOutputs(s.outputsOf(path, info), wanted) }
	outputs, all := valid()
	if all && mode == store.BuildNormal {
		return &store.BuildResult{Status: store.AlreadyValid, Outputs: outputs}
	}
	if s.opts.Build == nil {
		return failed(fmt.Sprintf("cannot build '%s': %v", path, errNoBuilder))
	}
	if err := s.runBuild(ctx, path, info.drv); err != nil {
		return &store.BuildResult{Status: store.PermanentFailure, Message: err.Error()}
	}
	if outputs, all = valid(); !all {
		return &store.BuildResult{Status: store.OutputRejected, Message: fmt.Sprintf("builder for '%s' failed to produce all outputs", path)}
	}
	return &store.BuildResult{Status: store.Built, TimesBuilt: 1, Outputs: outputs}
}

// runBuild calls the build function.
func (s *Store) runBuild(ctx context.Context, path storepath.Path, d *derivation.Derivation) error {
	defer s.active.track(path)() // the function may panic
	return s.opts.Build(ctx, s, path, d)
}

// validOutputs returns the wanted outputs that are valid, and whether they all are.
func (s *Store) validOutputs(outputs map[string]storepath.Path, wanted derivation.OutputsSpec) (valid map[string]store.Realisation, all bool) {
	valid, all = make(map[string]store.Realisation), true
	for name, path := range outputs {
		switch {
		case !wanted.Contains(name):
		case path != "" && s.has(path):
			valid[name] = store.Realisation{OutPath: path}
		default:
			all = false
		}
	}
	return valid, all
}

// BuildDerivation builds a derivation with [Options.Build] unless its outputs are valid. Its input sources must be
// valid.
func (s *Store) BuildDerivation(ctx context.Context, path storepath.Path, d *derivation.Derivation, mode store.BuildMode) (*store.BuildResult, error) {
	if mode == store.BuildRepair {
		return nil, unsupported.Errorf("repairing is not possible in a store in memory")
	}
	for p := range d.InputSources.All() {
		if !s.has(p) {
			return nil, &store.NotFoundError{Path: p}
		}
	}
	info := &drvInfo{drv: d, outputs: make(map[string]storepath.Path)}
	for name, output := range d.Outputs.All() {
		info.outputs[name] = output.Path()
	}
	if own, err := d.HashModulo(derivation.ForOutputs, noInputs, nil); err == nil {
		info.hash = own.Hash
	}
	return s.build(ctx, path, info, derivation.AllOutputs(), mode), nil
}

// noInputs has no hashes of inputs, for derivations without input derivations.
func noInputs(storepath.Path) (h derivation.ModuloHash, ok bool) { return h, false }

// EnsurePath returns an error if the path is not valid: there are no substituters.
func (s *Store) EnsurePath(_ context.Context, path storepath.Path) error {
	if !s.has(path) {
		return fmt.Errorf("path '%s' does not exist and cannot be created", path)
	}
	return nil
}

// QueryMissing returns the derivations that must be built, and the paths that are neither valid nor can be built.
func (s *Store) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	return store.MissingWithoutSubstitutes(ctx, s, paths)
}
