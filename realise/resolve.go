package realise

import (
	"errors"
	"fmt"

	"pix/activity"
	"pix/builder"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// mustResolve reports whether a derivation is built as another one, which has the output paths of its inputs in place of
// the inputs: paths of outputs depend on contents, of its own outputs or of an input. With the feature ca-derivations, Nix
// also builds every derivation with a fixed output in that way.
func (c *call) mustResolve(d *derivation.Derivation) (bool, error) {
	if d.InputDerivations.Len() == 0 {
		return false, nil
	}
	if d.IsDynamic() {
		return true, nil
	}
	kind, err := d.Kind()
	if err != nil || kind == derivation.InputAddressed {
		return false, err
	}
	if kind != derivation.Fixed {
		return true, nil
	}
	settings, err := c.load()
	if err != nil || settings.Realisations {
		return err == nil, err
	}
	for input := range d.InputDerivations.All() {
		needed, err := c.derivation(input)
		if err != nil {
			return false, err
		}
		kind, err := needed.Kind()
		if err != nil {
			return false, err
		}
		if kind != derivation.InputAddressed && kind != derivation.Fixed {
			return true, nil
		}
	}
	return false, nil
}

// resolve adds the resolved derivation of a request to the store, and returns the request for it. The result is nil if it
// must be built: its outputs are not valid, and no substituter provides them.
func (c *call) resolve(req *builder.Request) (*builder.Request, *store.BuildResult, error) {
	resolved, err := req.Derivation.Resolve(func(drv derivation.SingleDerivedPath, output string) (storepath.Path, bool) {
		path := c.inputPath(req, drv, output)
		return path, path != ""
	})
	if err != nil {
		return nil, nil, err
	}
	path, err := store.AddText(c.ctx, c.store.Store, resolved.Name+".drv", resolved.String(), resolved.References().Slice())
	if err != nil {
		return nil, nil, fmt.Errorf("adding the resolved derivation of '%s': %w", req.Path, err)
	}
	c.report.resolved(req.Path, path)
	req = &builder.Request{Path: path, Derivation: resolved, Mode: req.Mode}
	if req.Mode != store.BuildNormal {
		return req, nil, nil
	}
	c.turns.settle() // other goals can build meanwhile
	defer c.turns.prepare()
	outputs := derivation.Built{Drv: derivation.Opaque{Path: path}, Outputs: derivation.AllOutputs()}
	results, err := c.substitute([]derivation.DerivedPath{outputs}, store.BuildNormal)
	if err != nil {
		return nil, nil, err
	}
	result := &results[0].BuildResult
	switch {
	case result.Status == store.MiscFailure:
		return req, nil, nil
	case !result.Status.Succeeded() && result.Message == "": // not tried
		return nil, nil, c.stopCause()
	}
	return req, result, nil
}

// resultOfResolved returns the result of a derivation that was built as another one, in the words of Nix. It reports the
// failure of that one.
func (c *call) resultOfResolved(resolved storepath.Path, result *store.BuildResult) *store.BuildResult {
	if !result.Status.Succeeded() {
		c.logDependency(result.Message)
		return &store.BuildResult{Status: store.DependencyFailed, Message: fmt.Sprintf("build of resolved derivation '%s' failed", resolved)}
	}
	if result.Status == store.AlreadyValid {
		same := *result
		same.Status = store.ResolvesToAlreadyValid
		return &same
	}
	return result
}

// inputPath returns the path of an output that a derivation uses, or "" if it is not known.
func (c *call) inputPath(req *builder.Request, drv derivation.SingleDerivedPath, output string) storepath.Path {
	if path, ok := drv.(derivation.Opaque); ok {
		return req.Inputs[path.Path][output]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dynamic.paths[derivation.SingleBuilt{Drv: drv, Output: output}.String()]
}

// register registers the outputs of a derivation that this call has built as another one, or all outputs if the
// settings ask for that. An impure derivation has other outputs each time, so none is registered.
func (c *call) register(drv storepath.Path, d *derivation.Derivation, resolved bool, outputs map[string]store.Realisation) error {
	kind, err := d.Kind()
	if err != nil || kind == derivation.Impure {
		return err
	}
	settings, err := c.load()
	if err != nil || !settings.Realisations && (!resolved || kind == derivation.Fixed) {
		return err
	}
	hash, err := store.DrvHash(c.ctx, c.store.Store, drv)
	if err != nil {
		return err
	}
	for name, out := range outputs {
		r := store.KeyedRealisation{ID: store.DrvOutput{Path: drv, Hash: hash, Output: name}, Realisation: store.Realisation{OutPath: out.OutPath}}
		known, err := store.QueryRealisation(c.ctx, c.store.Store, store.DrvOutput{Hash: hash, Output: name})
		if err == nil && known.OutPath == out.OutPath {
			continue
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := store.RegisterRealisation(c.ctx, c.store.Store, r); err != nil {
			return err
		}
	}
	return nil
}

// registerPresent registers the outputs of a derivation that were valid or substituted.
func (c *call) registerPresent(r *store.KeyedBuildResult) error {
	built, ok := r.Path.(derivation.Built)
	if !ok || !r.Status.Succeeded() {
		return nil
	}
	settings, err := c.load()
	if err != nil || !settings.Realisations {
		return err
	}
	d, err := c.derivation(built.Base())
	if err != nil {
		return err
	}
	return c.register(built.Base(), d, false, r.Outputs)
}

// checkPure returns an error if a derivation needs an impure one, and is neither impure nor fixed itself: its
// outputs would depend on the time of the build.
func (c *call) checkPure(drv storepath.Path, d *derivation.Derivation) error {
	kind, err := d.Kind()
	if err != nil || kind == derivation.Impure || kind == derivation.Fixed {
		return err
	}
	for input := range d.InputDerivations.All() {
		needed, err := c.derivation(input)
		if err != nil {
			return err
		}
		if kind, err := needed.Kind(); err == nil && kind == derivation.Impure {
			return fmt.Errorf("pure derivation '%s' depends on impure derivation '%s'", drv, input)
		}
	}
	return nil
}

// builtOutput returns the path of an output that this call has built, or "". Only the result of a build has the path of
// an impure output.
func (c *call) builtOutput(drv storepath.Path, output string) storepath.Path {
	c.mu.Lock()
	g := c.goals[drv]
	c.mu.Unlock()
	if g == nil || !g.started {
		return ""
	}
	<-g.done
	if !g.wasTried {
		return ""
	}
	return g.result.Outputs[output].OutPath
}

// resolved reports that a derivation is built as another one.
func (r *report) resolved(drv, resolved storepath.Path) {
	if r == nil {
		return
	}
	id := activity.NewID()
	r.Lock()
	defer r.Unlock()
	r.Emit(
		activity.Start{
			ID: id, Level: activity.LevelInfo, Type: activity.BuildWaiting, Parent: r.builds,
			Text:   fmt.Sprintf("resolved derivation: '%s' -> '%s'", drv, resolved),
			Fields: []activity.Field{activity.Text(string(drv)), activity.Text(string(resolved))},
		},
		activity.Stop{ID: id},
	)
}
