package builder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"pix/activity"
	"pix/derivation"
	"pix/nar"
	"pix/nixbase32"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// newBuild returns the build of a request. It reads the options and outputs of the derivation.
func newBuild(s Store, opts *Options, req *Request) (*build, error) {
	b := &build{store: s, opts: opts, req: req, drv: req.Derivation}
	var err error
	if b.kind, err = b.drv.Kind(); err != nil {
		return nil, err
	}
	b.pure = b.kind != derivation.Fixed && b.kind != derivation.Impure
	if b.options, err = b.drv.Options(); err != nil {
		return nil, optionsError(err)
	}
	for name, o := range b.drv.Outputs.All() {
		path, err := b.knownPath(name, o)
		if err != nil {
			return nil, err
		}
		b.outputs = append(b.outputs, &output{name: name, path: path})
	}
	return b, nil
}

// optionsError returns the error of [derivation.Derivation.Options]. If the reason is the complete text of Nix, it
// returns only that.
func optionsError(err error) error {
	if invalid, ok := errors.AsType[*derivation.InvalidError](err); ok && invalid.Field == "option exportReferencesGraph" {
		return errors.New(invalid.Reason)
	}
	return err
}

// knownPath returns the path of an output if it is known before the build, or "". Each build of an impure derivation
// gets a random path.
func (b *build) knownPath(name string, o derivation.Output) (storepath.Path, error) {
	switch o.Kind() {
	case derivation.Impure:
		random := make([]byte, storepath.HashPartSize)
		rand.Read(random)
		return b.store.Dir().ParseBase(nixbase32.EncodeToString(random) + "-" + storepath.OutputName(b.drv.Name, name))
	case derivation.Deferred:
		return "", fmt.Errorf("the path of output '%s' of derivation '%s' is not known before its inputs are resolved", name, b.req.Path)
	case derivation.InputAddressed, derivation.Fixed, derivation.Floating:
	}
	return staticPath(b.drv, name, o)
}

// report sets the handler to which the build reports.
func (b *build) report(ctx context.Context) {
	b.handler = activity.HandlerOf(ctx)
	if b.handler == nil {
		b.handler = activity.HandlerFunc(func(activity.Event) {})
	}
}

// decideSandbox decides whether the builder runs in a sandbox. Only the options and the derivation count. If the
// machine cannot make a sandbox, the build fails.
func (b *build) decideSandbox() error {
	switch b.opts.Sandbox {
	case SandboxAll:
		if b.options.NoChroot {
			return fmt.Errorf("derivation '%s' has '__noChroot' set, but that's not allowed when 'sandbox' is 'true'", b.req.Path)
		}
		b.sandboxed = true
	case SandboxRelaxed:
		b.sandboxed = b.pure && !b.options.NoChroot
	case SandboxNone:
	}
	// Without a sandbox, the store paths would not lead to the files of this store.
	if b.storeDir() != string(b.store.Dir()) {
		b.sandboxed = true
	}
	var err error
	if b.users, err = b.opts.chooseUsers(b.sandboxed); err != nil {
		return err
	}
	if b.uidRange() && !b.sandboxed {
		return errors.New("feature 'uid-range' is only supported in sandboxed builds")
	}
	if b.uidRange() && b.users != sourceIDs {
		return errors.New("feature 'uid-range' requires the setting 'auto-allocate-uids' to be enabled")
	}
	if b.opts.RequireDropSupplementaryGroups && os.Geteuid() != 0 && b.sandboxed {
		return errors.New("setgroups failed. Set the require-drop-supplementary-groups option to false to skip this step.") //nolint:staticcheck // Nix's words
	}
	return nil
}

// lock locks the outputs, and adds temporary roots for their paths. Without a sandbox, the scratch paths are in the
// store, and need temporary roots too.
func (b *build) lock(ctx context.Context) (Locks, error) {
	var fallbacks []storepath.Path
	for _, o := range b.outputs {
		fallback, err := b.fallbackForOutput(o.name)
		if o.path != "" && b.kind != derivation.Impure {
			fallback, err = b.fallbackForPath(o.path)
		}
		if err != nil {
			return nil, err
		}
		fallbacks = append(fallbacks, fallback)
	}
	if !b.sandboxed {
		if err := b.store.AddTempRoots(ctx, fallbacks); err != nil {
			return nil, err
		}
	}
	names, err := b.req.LockNames()
	if err != nil {
		return nil, err
	}
	return b.store.LockObjects(ctx, names...)
}

// checkValid sets which outputs are valid and, for a repair, which of the valid ones are damaged.
func (b *build) checkValid(ctx context.Context) (allValid bool, err error) {
	if err := b.findKnown(ctx); err != nil {
		return false, err
	}
	allValid = true
	for _, o := range b.outputs {
		path := o.lastPath()
		if path != "" && b.kind != derivation.Impure {
			if o.valid, err = b.store.IsValidPath(ctx, path); err != nil {
				return false, err
			}
		}
		if o.valid && b.req.Mode == store.BuildRepair {
			o.valid, err = b.isWhole(ctx, path)
			o.corrupt = !o.valid
			if err != nil {
				return false, err
			}
		}
		allValid = allValid && o.valid
	}
	return allValid, nil
}

// isWhole reports whether the object of a valid path matches its hash in the store.
func (b *build) isWhole(ctx context.Context, path storepath.Path) (bool, error) {
	info, err := b.store.QueryPathInfo(ctx, path)
	if err != nil {
		return false, err
	}
	hash, _, err := nar.HashPath(ctx, b.store.ObjectFile(path), nixhash.SHA256, nil)
	if err := contextDone(ctx); err != nil {
		return false, err
	}
	return err == nil && hash == info.NARHash, nil
}

// checkCheckable returns an error if a check has no valid outputs to compare with. If the caller names the outputs
// that it wants, all of them must be valid; otherwise one is enough.
func (b *build) checkCheckable() error {
	if b.req.Mode != store.BuildCheck {
		return nil
	}
	valid, missing := false, false
	for _, o := range b.outputs {
		valid = valid || o.valid
		missing = missing || !o.valid && slices.Contains(b.req.Wanted, o.name)
	}
	if valid && !missing {
		return nil
	}
	return fmt.Errorf("some outputs of '%s' are not valid, so checking is not possible\n"+
		"Hint: --rebuild and --check error if the derivation was not previously built and cannot be substituted.\n"+
		"      Remove it to perform a fresh build, or use --repair to rewrite missing or corrupted builds in the store.", b.req.Path)
}

// removeInvalid deletes the objects at the paths of outputs that are not valid.
func (b *build) removeInvalid(ctx context.Context) error {
	for _, o := range b.outputs {
		if o.path == "" || o.valid || o.corrupt {
			continue
		}
		if err := b.store.RemoveObject(ctx, o.path); err != nil {
			return err
		}
	}
	return nil
}

// validOutputs returns the outputs that were valid before the build.
func (b *build) validOutputs() map[string]store.Realisation {
	outputs := map[string]store.Realisation{}
	for _, o := range b.outputs {
		if o.valid {
			outputs[o.name] = store.Realisation{OutPath: o.lastPath()}
		}
	}
	return outputs
}

// findClosure finds the input closure.
func (b *build) findClosure(ctx context.Context) error {
	roots := b.drv.InputSources.Slice()
	for drv, used := range b.drv.InputDerivations.All() {
		for name := range used.Names.All() {
			path, ok := b.req.Inputs[drv][name]
			if !ok {
				return fmt.Errorf("derivation '%s' requires non-existent output '%s' from input derivation '%s'", b.req.Path, name, drv)
			}
			roots = append(roots, path)
		}
	}
	b.closure = map[storepath.Path]bool{}
	for info, err := range store.Closure(ctx, b.store, roots...) {
		if err != nil {
			return err
		}
		b.closure[info.Path] = true
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
