package realise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pix/activity"
	"pix/builder"
	"pix/derivation"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// A remoteBuild is a build on another machine.
type remoteBuild struct {
	*elsewhere
	call    *call
	machine string      // for messages
	store   store.Store // of the machine
	locks   *outputLocks
	closure map[storepath.Path]bool
	log     *remoteLog
}

// buildOn builds a derivation on a machine, and copies its outputs to this one, unless another call has built it while this
// one waited for the machine. The error is a [*machineError] if the machine was not reached, or was lost. It then gets no
// builds for a while.
func (c *call) buildOn(slot *machineSlot, e *elsewhere, locks *outputLocks) (result *store.BuildResult, err error) {
	lost := false
	defer func() { c.store.machines.release(slot, lost) }()
	if result, err := c.builtMeanwhile(e.req); result != nil || err != nil {
		return result, err
	}
	s, err := slot.connect(c.ctx, c.store.opts.OpenMachine)
	if err != nil {
		lost = c.ctx.Err() == nil
		return nil, &machineError{slot.name, err}
	}
	file, err := c.createLog(e)
	if err != nil {
		return cannotBuild(store.MiscFailure, e.req.Path, e.req.Derivation, fmt.Sprintf("creating its log: %v", err), false), nil
	}
	defer file.Close()
	ctx, log := newRemoteLog(c.ctx, e, file)
	defer log.end()
	b := &remoteBuild{elsewhere: e, call: c, machine: slot.name, store: s, locks: locks, log: log}
	c.report.began()
	log.begin(e.req.Path, slot.name)
	started := time.Now().Truncate(time.Second)
	result, err = b.run(ctx)
	if limited := log.limitReached(e.req.Path); limited != nil && c.ctx.Err() == nil {
		result, err = limited, nil
	}
	if result != nil {
		result.TimesBuilt, result.Start, result.Stop = 1, started, time.Now().Truncate(time.Second)
	}
	c.report.ended(err == nil && result.Status.Succeeded())
	_, lost = errors.AsType[*machineError](err)
	lost = lost && c.ctx.Err() == nil
	if c.ctx.Err() != nil {
		return nil, context.Cause(c.ctx)
	}
	return result, err
}

// createLog creates the log of a build in the store below.
func (c *call) createLog(e *elsewhere) (io.WriteCloser, error) {
	logs, ok := store.As[interface {
		CreateLog(ctx context.Context, drv storepath.Path) (io.WriteCloser, error)
	}](c.store.Store)
	if !ok || e.remote.DiscardLog {
		return discard{}, nil
	}
	return logs.CreateLog(c.ctx, e.req.Path)
}

// discard is a writer that keeps nothing.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// run copies the inputs to the machine, builds there, and copies the outputs back.
func (b *remoteBuild) run(ctx context.Context) (*store.BuildResult, error) {
	roots, err := b.findClosure(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.copyTo(ctx, roots); err != nil {
		return b.failure(err)
	}
	result, err := b.build(ctx)
	if err != nil {
		return b.failure(err)
	}
	if !result.Status.Succeeded() {
		if b.remote.KeepFailed {
			b.log.warn("The failed build directory was kept on the remote builder due to `--keep-failed`." + b.hint())
		}
		return b.failed(result.Message), nil
	}
	outputs, err := b.fetch(ctx, result)
	if err != nil {
		return b.failed(err.Error()), nil
	}
	return &store.BuildResult{Status: store.Built, Outputs: outputs}, nil
}

// hint says how to build on this machine.
func (b *remoteBuild) hint() string {
	if !b.here {
		return ""
	}
	return " You can re-run the command with `--builders ''` to disable remote building for this invocation."
}

// failure returns the result of a build whose machine has answered with an error. Any other error means that the machine is
// lost.
func (b *remoteBuild) failure(err error) (*store.BuildResult, error) {
	if _, ok := errors.AsType[*activity.Error](err); ok {
		return b.failed(err.Error()), nil
	}
	return nil, &machineError{b.machine, err}
}

// failed returns the result of a failed build, and reports why it failed, in the words of Nix: the process that builds
// remotely logs the reason, and the build fails because this process has failed.
func (b *remoteBuild) failed(reason string) *store.BuildResult {
	logError(b.log.handler, fmt.Sprintf("build of '%s' on '%s' failed: %s", b.req.Path, b.machine, reason))
	return cannotBuild(store.MiscFailure, b.req.Path, b.req.Derivation, "builder failed with exit code 1.", true)
}

// findClosure finds the input closure, and returns the paths to copy.
func (b *remoteBuild) findClosure(ctx context.Context) ([]storepath.Path, error) {
	roots := b.req.Derivation.InputSources.Slice()
	for _, outputs := range b.req.Inputs {
		for _, path := range outputs {
			roots = append(roots, path)
		}
	}
	b.closure = make(map[storepath.Path]bool)
	for info, err := range store.Closure(ctx, b.call.store.Store, roots...) {
		if err != nil {
			return nil, err
		}
		b.closure[info.Path] = true
	}
	return roots, nil
}

// copyTo copies the closure of paths to the machine. Its daemon decides whether this user may add unsigned paths.
func (b *remoteBuild) copyTo(ctx context.Context, roots []storepath.Path) error {
	if len(roots) == 0 {
		return nil
	}
	defer b.log.copying(fmt.Sprintf("copying dependencies to '%s'", b.machine))()
	_, err := store.Copy(ctx, b.store, b.call.store.Store, roots, &store.CopyOptions{
		AddOptions: store.AddOptions{NoSignatures: true}, Substitute: b.remote.Substitute,
	})
	return err
}

// build builds on the machine. A daemon accepts the contents of an input-addressed derivation only from users whom it
// trusts. For other users, the derivation itself is copied to the machine, which builds from it.
func (b *remoteBuild) build(ctx context.Context) (*store.BuildResult, error) {
	ctx = activity.WithHandler(ctx, b.log)
	if s, ok := store.As[store.DerivationBuilder](b.store); ok {
		result, err := s.BuildDerivation(ctx, b.req.Path, b.withoutInputs(), store.BuildNormal)
		if _, distrusted := errors.AsType[*protocol.TrustError](err); !distrusted {
			return result, err
		}
	}
	if err := b.copyTo(ctx, []storepath.Path{b.req.Path}); err != nil {
		return nil, err
	}
	wanted := derivation.Built{Drv: derivation.Opaque{Path: b.req.Path}, Outputs: derivation.AllOutputs()}
	results, err := store.BuildPathsWithResults(ctx, b.store, []derivation.DerivedPath{wanted}, store.BuildNormal)
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, fmt.Errorf("%d results for one derivation", len(results))
	}
	return &results[0].BuildResult, nil
}

// withoutInputs returns the derivation with the paths of the input closure instead of its input derivations.
func (b *remoteBuild) withoutInputs() *derivation.Derivation {
	d := b.req.Derivation
	if d.InputDerivations.Len() == 0 {
		return d // other sources would change the ids of content-addressed outputs
	}
	d = d.Clone()
	d.InputDerivations = derivation.Map[storepath.Path, derivation.InputOutputs]{}
	paths := make([]storepath.Path, 0, len(b.closure))
	for path := range b.closure {
		paths = append(paths, path)
	}
	d.InputSources = derivation.SetOf(paths...)
	return d
}

var _ rejecter = (*builder.Builder)(nil)
