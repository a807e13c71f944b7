package builder

import (
	"context"
	"errors"

	"pix/derivation"
	"pix/signature"
	"pix/store"
)

// placeContentAddressed makes a content-addressed output valid. Its path may be valid already, because another
// derivation can have the same output.
func (f *finisher) placeContentAddressed(ctx context.Context, m *made) error {
	if m.info.Path != m.path {
		locks, err := f.lockFinal(ctx, m)
		if err != nil {
			return err
		}
		if locks == nil {
			return f.checkFixed(m)
		}
		defer locks.Release()
		if err := locks.Check(); err != nil {
			return err
		}
	}
	valid, err := f.store.IsValidPath(ctx, m.info.Path)
	if err != nil {
		return err
	}
	if err := m.info.Sign(f.opts.SecretKeys...); err != nil {
		return err
	}
	if valid && f.req.Mode != store.BuildRepair {
		return f.trust(ctx, m)
	}
	placed := []*made{m}
	if err = f.place(ctx, m); err == nil {
		err = f.registerAll(ctx, placed)
	}
	if err != nil {
		return errors.Join(err, f.unplace(ctx, placed))
	}
	return nil
}

// lockFinal locks the final path of an output whose path was not known before the build. For a fixed output with an
// unexpected hash, another build that expects this hash may hold the lock, and wait for a lock of this build. So
// lockFinal does not wait for the lock of a fixed output, and returns nil if it is not free.
func (f *finisher) lockFinal(ctx context.Context, m *made) (Locks, error) {
	if f.kind != derivation.Fixed {
		return f.store.LockObjects(ctx, m.info.Path.Base())
	}
	return f.store.TryLockObjects(ctx, m.info.Path.Base())
}

// trust marks a valid path as built on this machine, and signs it. The object stays.
func (f *finisher) trust(ctx context.Context, m *made) error {
	known, err := f.store.QueryPathInfo(ctx, m.info.Path)
	if err != nil {
		return err
	}
	info := *known
	info.Ultimate = true
	if err := info.Sign(f.opts.SecretKeys...); err != nil {
		return err
	}
	return f.store.UpdateInfo(ctx, &info)
}

// place moves an output to its place in the store.
func (f *finisher) place(ctx context.Context, m *made) error {
	if f.locks != nil {
		if err := f.locks.Check(); err != nil {
			return err
		}
	}
	return f.store.AddOutput(ctx, m.file, &m.info, f.req.Mode == store.BuildRepair, f.opts.AutoOptimise)
}

// registerAll makes placed outputs valid, all or none.
func (f *finisher) registerAll(ctx context.Context, placed []*made) error {
	if len(placed) == 0 {
		return nil
	}
	infos := make([]*store.PathInfo, len(placed))
	for i, m := range placed {
		infos[i] = &m.info
	}
	err := error(nil)
	if f.locks != nil {
		err = f.locks.Check()
	}
	if err == nil {
		err = f.store.RegisterOutputs(ctx, infos)
	}
	return err
}

// register places the input-addressed outputs, makes them valid in one transaction, and returns the paths of all
// outputs.
func (f *finisher) register(ctx context.Context) (map[string]store.Realisation, error) {
	var placed []*made
	err := func() error {
		for _, m := range f.made {
			if !m.info.CA.IsZero() {
				continue
			}
			if err := m.info.Sign(f.opts.SecretKeys...); err != nil {
				return err
			}
			placed = append(placed, m)
			if err := f.place(ctx, m); err != nil {
				return err
			}
		}
		return f.registerAll(ctx, placed)
	}()
	if err != nil {
		return nil, errors.Join(err, f.unplace(ctx, placed))
	}
	outputs := make(map[string]store.Realisation, len(f.outputs))
	for _, o := range f.outputs {
		outputs[o.name] = store.Realisation{OutPath: f.finals[o.scratch]}
	}
	if f.kind == derivation.Floating {
		for _, m := range f.made {
			r, err := f.registerRealisation(ctx, m)
			if err != nil {
				return nil, err
			}
			outputs[m.name] = r
		}
	}
	return outputs, nil
}

// unplace deletes placed outputs that could not be registered.
func (f *finisher) unplace(ctx context.Context, placed []*made) (err error) {
	ctx = context.WithoutCancel(ctx)
	for _, m := range placed {
		valid, failed := f.store.IsValidPath(ctx, m.info.Path)
		if failed == nil && !valid {
			failed = f.store.RemoveObject(ctx, m.info.Path)
		}
		err = errors.Join(err, failed)
	}
	return err
}

// registerRealisation stores the path of a floating output, which does not follow from the derivation.
func (f *finisher) registerRealisation(ctx context.Context, m *made) (store.Realisation, error) {
	r := store.KeyedRealisation{ID: store.DrvOutput{Path: f.req.Path, Output: m.name}, Realisation: store.Realisation{OutPath: m.info.Path}}
	if f.drv.InputDerivations.Len() == 0 {
		hash, err := f.drv.HashModulo(derivation.ForOutputs, nil, nil)
		if err != nil {
			return r.Realisation, err
		}
		r.ID.Hash = hash.Hash
	}
	if err := f.signRealisation(&r); err != nil {
		return r.Realisation, err
	}
	return r.Realisation, f.store.RegisterDrvOutput(ctx, r)
}

// signRealisation signs a realisation by the rules of the store. Before Nix 2.36 the signed text names the derivation
// by its hash.
func (f *finisher) signRealisation(r *store.KeyedRealisation) (err error) {
	if len(f.opts.SecretKeys) == 0 {
		return nil
	}
	var fingerprint []byte
	switch {
	case f.store.Rules() == store.Rules236:
		fingerprint, err = signature.RealisationFingerprint(r.ID.Path, r.ID.Output, r.OutPath)
	case r.ID.Hash.IsZero():
		return nil
	default:
		fingerprint, err = signature.OldRealisationFingerprint(r.ID.Hash, r.ID.Output, r.OutPath)
	}
	if err != nil {
		return err
	}
	for _, key := range f.opts.SecretKeys {
		r.Signatures = append(r.Signatures, key.Sign(fingerprint).String())
	}
	return nil
}
