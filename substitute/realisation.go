package substitute

import (
	"context"
	"errors"

	"pix/activity"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// An output of a derivation that is addressed by its contents has no path before it was built. Which
// one it has got elsewhere is what realisations say, and so they need signatures as paths do: that
// the path follows from its contents does not say that it is the output of that derivation.

// locate asks the substituters which path an output of a valid derivation has got; it is "" if none
// knows. A signed answer has a signature that the settings accept.
func (c *call) locate(ctx context.Context, drv storepath.Path, output string, signed bool) (storepath.Path, error) {
	hasher, ok := store.As[store.DrvHasher](c.store.Store)
	if !ok {
		return "", nil
	}
	hash, err := hasher.DrvHash(ctx, drv)
	if err != nil {
		return "", err
	}
	id := store.DrvOutput{Path: drv, Hash: hash, Output: output}
	search, err := c.searching()
	if err != nil {
		return "", err
	}
	r, err := search.realisation(ctx, id, signed)
	if err != nil || r == nil {
		return "", err
	}
	if signed { // else it is not to be registered
		c.located[drv] = append(c.located[drv], store.KeyedRealisation{ID: id, Realisation: *r})
	}
	return r.OutPath, nil
}

// registerOutputs notes which paths outputs of a derivation have got, if these are valid by now.
func (c *call) registerOutputs(ctx context.Context, drv storepath.Path) error {
	for _, r := range c.located[drv] {
		valid, err := c.store.IsValidPath(ctx, r.OutPath)
		if err != nil {
			return err
		}
		registry, ok := store.As[store.RealisationStore](c.store.Store)
		if !ok || !valid {
			continue
		}
		if err := registry.RegisterDrvOutput(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// realisation asks the substituters which path an output has got. It is nil if none knows, or none
// has a signature that is needed.
func (s *search) realisation(ctx context.Context, id store.DrvOutput, signed bool) (*store.Realisation, error) {
	for i := range s.substituters {
		sub := &s.substituters[i]
		registry, ok := store.As[store.RealisationStore](sub.Store)
		if !ok || sub.Store.Dir() != s.dir {
			continue
		}
		r, err := registry.QueryRealisation(ctx, id)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			if !errors.Is(err, store.ErrNotFound) {
				s.report.say(activity.LevelError, "error: %v", err)
			}
			continue
		}
		if !signed || sub.Trusted || s.settings.NoSignatures || s.settings.UnsignedRealisations || s.vouchedFor(id, r) {
			return r, nil
		}
		s.report.say(activity.LevelWarn, "warning: ignoring substitute for build trace '%s' -> '%s' from '%s', as it's not signed by any of the keys in 'trusted-public-keys'", id.HashID(), r.OutPath, sub.URI)
	}
	return nil, nil
}

// vouchedFor reports whether a trusted key has signed a realisation.
func (s *search) vouchedFor(id store.DrvOutput, r *store.Realisation) bool {
	fingerprint, err := signature.OldRealisationFingerprint(id.Hash, id.Output, r.OutPath)
	if err != nil {
		return false
	}
	for _, text := range r.Signatures {
		sig, err := signature.Parse(text)
		if err != nil {
			continue // that is no reason to distrust the others
		}
		if good, _ := s.settings.TrustedKeys.Verify(fingerprint, sig); len(good) > 0 {
			return true
		}
	}
	return false
}
