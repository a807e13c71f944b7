package realise

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pix/activity"
	"pix/builder"
	"pix/derivation"
	"pix/nixconf"
	"pix/store"
	"pix/storepath"
)

// Remote are the settings for builds on other machines.
type Remote struct {
	Machines []nixconf.Machine // Nix's builders

	// Substitute lets machines substitute inputs before they are copied, Nix's builders-use-substitutes.
	Substitute bool

	// KeepFailed says that the machines keep the build directories of failed builds. It only changes messages.
	KeepFailed bool

	// DiscardLog keeps no log of builds in the store below.
	DiscardLog bool
}

// maxAttempts is on how many machines a derivation is tried. A machine that loses its connection costs one attempt: the
// build itself may be the reason.
const maxAttempts = 3

// elsewhere is a derivation that may be built on another machine.
type elsewhere struct {
	req      *builder.Request
	key      buildKey
	remote   *Remote
	limits   builder.Limits // the copies count, too
	system   string
	features []string // that the machine must have
	here     bool     // this machine can build it too
}

// A rejecter is an executor that says beforehand why it cannot build a derivation: see [builder.Builder.Rejection].
type rejecter interface {
	Rejection(req *builder.Request) (string, error)
}

// rejection returns why the executor cannot build a derivation, or "".
func (s *Settings) rejection(req *builder.Request) (string, error) {
	if executor, ok := s.Executor.(rejecter); ok {
		return executor.Rejection(req)
	}
	return "", nil
}

// elsewhere returns nil if a derivation is built on this machine: because there are no other machines, because it prefers that,
// or because the caller wants a check or a repair of this store. As in Nix, the derivation itself must be valid.
func (c *call) elsewhere(req *builder.Request) (*elsewhere, error) {
	settings, err := c.load()
	if err != nil || settings.Remote == nil || len(settings.Remote.Machines) == 0 || req.Mode != store.BuildNormal {
		return nil, err
	}
	options, err := req.Derivation.Options()
	if err != nil {
		return nil, nil // the executor reports it
	}
	kind, err := req.Derivation.Kind()
	if err != nil {
		return nil, nil
	}
	e := &elsewhere{
		req: req, key: keyOf(req, settings), remote: settings.Remote, limits: settings.Limits,
		system: req.Derivation.Platform, features: options.RequiredSystemFeatures.Slice(),
	}
	if kind == derivation.Floating || kind == derivation.Deferred || kind == derivation.Impure {
		e.features = append(slices.Clone(e.features), "ca-derivations")
	}
	if settings.MaxJobs > 0 {
		rejection, err := settings.rejection(req)
		if err != nil {
			return nil, err
		}
		e.here = rejection == ""
	}
	if e.here && options.PreferLocalBuild {
		return nil, nil
	}
	valid, err := c.store.IsValidPath(c.ctx, req.Path)
	if err != nil || !valid {
		return nil, err
	}
	return e, nil
}

// execute builds a derivation on another machine or on this one. The goal is preparing when it is called.
func (c *call) execute(req *builder.Request) (*store.BuildResult, error) {
	if rejected := c.store.outer.reject(req); rejected != nil {
		c.turns.settle()
		return rejected, nil
	}
	e, err := c.elsewhere(req)
	if err != nil {
		c.turns.settle()
		return nil, err
	}
	if e != nil {
		c.turns.settle()
		result, err := c.buildElsewhere(e)
		if result != nil || err != nil {
			return result, err
		}
		c.turns.prepare()
		defer c.turns.cancel(req.Path)
	}
	return c.executeHere(req)
}

// buildElsewhere builds a derivation on the first suitable machine that is free. It returns nil if this machine builds it: it
// has a slot for the call, and the suitable machines are busy, or there is none.
func (c *call) buildElsewhere(e *elsewhere) (*store.BuildResult, error) {
	for attempts := 0; attempts < maxAttempts; {
		result, retry, err := c.elsewhereOnce(e)
		failed, ok := errors.AsType[*machineError](err)
		switch {
		case retry:
		case !ok || c.ctx.Err() != nil:
			return result, err
		default:
			attempts++
			logError(activity.HandlerOf(c.ctx), fmt.Sprintf("cannot build on '%s': %v", failed.machine, failed.err))
		}
	}
	if e.here {
		return nil, nil
	}
	return cannotBuild(store.TransientFailure, e.req.Path, e.req.Derivation, fmt.Sprintf("the connections to %d machines failed.", maxAttempts), true), nil
}

// elsewhereOnce builds on a machine. If another call builds the derivation, elsewhereOnce joins that build, or waits for its
// end. With retry, there is no result yet.
func (c *call) elsewhereOnce(e *elsewhere) (result *store.BuildResult, retry bool, err error) {
	if result, err := c.builtMeanwhile(e.req); result != nil || err != nil {
		return result, false, err
	}
	b, cl, err := c.store.running.claim(c, e.key, nil)
	if b == nil && err == nil {
		var slot *machineSlot
		if slot, err = c.waitForMachine(e); slot == nil || err != nil {
			return nil, false, err
		}
		own := false
		b, cl, err = c.store.running.claim(c, e.key, func() *sharedBuild { own = true; return newElsewhereBuild(e.key) })
		if own {
			defer c.store.running.leave(c, b)
			defer c.store.running.end(b)
			return c.buildLocked(slot, e)
		}
		c.store.machines.release(slot, false)
	}
	if err != nil {
		return cannotBuild(store.InputRejected, e.req.Path, e.req.Derivation, err.Error(), false), false, nil
	}
	return c.follow(b, cl)
}

// A machineError says that a machine could not be reached, or was lost. It says nothing about the derivation.
type machineError struct {
	machine string // for messages
	err     error
}

func (e *machineError) Error() string { return e.err.Error() }
func (e *machineError) Unwrap() error { return e.err }

// waitForMachine waits for a slot of a suitable machine, or of this one. It returns nil for this one, and if no machine is
// suitable.
func (c *call) waitForMachine(e *elsewhere) (*machineSlot, error) {
	waiting := false
	for {
		slot, supported, changed := c.store.machines.take(e.remote.Machines, e.system, e.features)
		if slot != nil {
			return slot, nil
		}
		if !supported {
			c.report.noMachine(e)
			return nil, nil
		}
		var freed <-chan struct{}
		if e.here {
			var reserved bool
			if reserved, freed = c.turns.reserve(e.req.Path); reserved {
				return nil, nil
			}
		}
		if !waiting {
			waiting = true
			defer c.report.waitingForMachine(e.req.Path)()
		}
		select {
		case <-changed:
		case <-freed:
		case <-c.ctx.Done():
			return nil, context.Cause(c.ctx)
		}
	}
}

// builtMeanwhile returns a result if another call has built the outputs.
func (c *call) builtMeanwhile(req *builder.Request) (*store.BuildResult, error) {
	if kind, err := req.Derivation.Kind(); err != nil || kind == derivation.Impure {
		return nil, nil
	}
	outputs, err := store.OutputMap(c.ctx, c.store.Store, req.Path)
	if err != nil {
		return nil, err
	}
	result := &store.BuildResult{Status: store.AlreadyValid, Outputs: make(map[string]store.Realisation)}
	var paths []storepath.Path
	for name, path := range outputs {
		if path == "" {
			return nil, nil
		}
		paths = append(paths, path)
		result.Outputs[name] = store.Realisation{OutPath: path}
	}
	if err := store.AddTempRoots(c.ctx, c.store.Store, paths); err != nil {
		return nil, err
	}
	valid, err := c.store.QueryValidPaths(c.ctx, paths, false)
	if err != nil || len(valid) != len(result.Outputs) {
		return nil, err
	}
	return result, nil
}

// waitingForMachine reports that a derivation waits until the returned function is called.
func (r *report) waitingForMachine(drv storepath.Path) (end func()) {
	if r == nil {
		return func() {}
	}
	id := activity.NewID()
	r.Lock()
	defer r.Unlock()
	r.Emit(activity.Start{ID: id, Level: activity.LevelWarn, Type: activity.BuildWaiting, Parent: r.builds, Text: fmt.Sprintf("waiting for a machine to build '%s'", drv)})
	return func() {
		r.Lock()
		defer r.Unlock()
		r.Emit(activity.Stop{ID: id})
	}
}

// noMachine reports that no machine is suitable, with the text of Nix. It is a warning if this machine is not, either.
func (r *report) noMachine(e *elsewhere) {
	if r == nil {
		return
	}
	list := func(words []string) string { return strings.Join(slices.Sorted(slices.Values(words)), ", ") }
	var text strings.Builder
	fmt.Fprintf(&text, "Failed to find a machine for remote build!\nderivation: %s\nrequired (system, features): (%s, [%s])", e.req.Path.Base(), e.system, list(e.features))
	fmt.Fprintf(&text, "\n%d available machines:\n(systems, maxjobs, supportedFeatures, mandatoryFeatures)", len(e.remote.Machines))
	for _, m := range e.remote.Machines {
		fmt.Fprintf(&text, "\n([%s], %d, [%s], [%s])", list(m.Systems), m.MaxJobs, list(m.Features), list(m.Mandatory))
	}
	level := activity.LevelWarn
	if e.here {
		level = activity.LevelChatty
	}
	r.HandleEvent(activity.Log{Level: level, Text: text.String()})
}
