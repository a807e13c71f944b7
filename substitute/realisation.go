package substitute

import (
	"context"
	"errors"

	"pix/activity"
	"pix/derivation"
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
	search, err := c.searching()
	if err != nil {
		return "", err
	}
	l := &locator{call: c, search: search, signed: signed, known: make(map[derivation.SingleBuilt]storepath.Path)}
	r, err := l.realisation(ctx, drv, output)
	if err != nil || r == nil {
		return "", err
	}
	if signed { // else it is not to be registered
		c.located[drv] = append(c.located[drv], *r)
	}
	return r.OutPath, nil
}

// A locator asks the substituters about an output of a derivation and, if need be, about outputs of its
// inputs: Nix up to 2.34 knows an output by the hash of the derivation, and Nix from 2.35 on by the path of
// the resolved derivation.
type locator struct {
	*call
	search *search
	signed bool
	known  map[derivation.SingleBuilt]storepath.Path // the paths of outputs of inputs; "" is unknown

	depth, bytes int // of the derivations that are in memory
}

// To resolve a derivation, its inputs are resolved first. The whole chain is in memory then. Clients can add long
// chains, so these limits keep the stack and the heap small.
const (
	maxResolving      = 10_000
	maxResolvingBytes = 64 << 20
)

// realisation returns what a substituter says of an output of a valid derivation, or nil.
func (l *locator) realisation(ctx context.Context, drv storepath.Path, output string) (*store.KeyedRealisation, error) {
	hash, err := store.DrvHash(ctx, l.store.Store, drv)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := store.Derivations(l.store.Store).LoadDerivation(ctx, drv)
	if err != nil {
		return nil, err
	}
	d, err := store.ParseDerivation(drv, text)
	if err != nil {
		return nil, err
	}
	id := store.DrvOutput{Hash: hash, Output: output}
	if d.InputDerivations.Len() == 0 {
		id.Path = drv
	}
	r, err := l.search.realisation(ctx, id, l.signed)
	if r == nil && err == nil && id.Path == "" {
		if id.Path, err = l.resolved(ctx, d, len(text)); id.Path == "" || err != nil {
			return nil, err
		}
		r, err = l.search.realisation(ctx, store.DrvOutput{Path: id.Path, Output: output}, l.signed)
	}
	if r == nil || err != nil {
		return nil, err
	}
	return &store.KeyedRealisation{ID: id, Realisation: *r}, nil
}

// resolved returns the path of a derivation with its inputs replaced by the paths of their outputs, or "" if
// one of these is not known.
func (l *locator) resolved(ctx context.Context, d *derivation.Derivation, size int) (storepath.Path, error) {
	l.depth, l.bytes = l.depth+1, l.bytes+size
	defer func() { l.depth, l.bytes = l.depth-1, l.bytes-size }()
	if l.depth > maxResolving || l.depth > 1 && l.bytes > maxResolvingBytes {
		return "", nil
	}
	return store.ResolvedPath(d, func(drv derivation.SingleDerivedPath, output string) (storepath.Path, error) {
		return l.outputOf(ctx, derivation.SingleBuilt{Drv: drv, Output: output})
	})
}

// outputOf returns the path that an output has got here or elsewhere, or "".
func (l *locator) outputOf(ctx context.Context, built derivation.SingleBuilt) (path storepath.Path, err error) {
	if path, ok := l.known[built]; ok {
		return path, nil
	}
	drv := built.Drv.Base()
	if inner, ok := built.Drv.(derivation.SingleBuilt); ok {
		if drv, err = l.outputOf(ctx, inner); err != nil || drv == "" {
			return "", err
		}
	}
	outputs, err := store.OutputMap(ctx, l.store.Store, drv)
	if err == nil && outputs[built.Output] == "" {
		var r *store.KeyedRealisation
		if r, err = l.realisation(ctx, drv, built.Output); r != nil {
			outputs[built.Output] = r.OutPath
		}
	}
	if errors.Is(err, store.ErrNotFound) { // a derivation is not here
		err = nil
	}
	if err == nil {
		l.known[built] = outputs[built.Output]
	}
	return outputs[built.Output], err
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
		if sub.Store.Dir() != s.dir || s.down[i].why.Load() != nil || s.down[i].realisations.Load() {
			continue
		}
		r, err := s.queryRealisation(ctx, i, id)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errors.ErrUnsupported) {
				s.tell(i, err)
			}
			continue
		}
		if !signed || sub.Trusted || s.settings.NoSignatures || s.settings.UnsignedRealisations || s.vouchedFor(id, r) {
			return r, nil
		}
		s.report.say(activity.LevelWarn, "warning: ignoring substitute for build trace '%s' -> '%s' from '%s', as it's not signed by any of the keys in 'trusted-public-keys'", nameOfOutput(id), r.OutPath, sub.URI)
	}
	return nil, nil
}

// queryRealisation asks one substituter about an output. If it does not answer, it is not asked about outputs
// again. It may still answer about paths: some caches know no realisations.
func (s *search) queryRealisation(ctx context.Context, i int, id store.DrvOutput) (*store.Realisation, error) {
	askCtx, watch := watchStall(ctx, s.substituters[i].Store, s.stall)
	defer watch.end()
	r, err := store.QueryRealisation(askCtx, s.substituters[i].Store, id)
	err = watch.because(askCtx, err)
	if err != nil && ctx.Err() == nil && isDown(err) {
		s.down[i].realisations.Store(true)
	}
	return r, err
}

// nameOfOutput returns the name that Nix has for an output in messages.
func nameOfOutput(id store.DrvOutput) string {
	if id.Hash.IsZero() {
		return id.PathID()
	}
	return id.HashID()
}

// vouchedFor reports whether a trusted key has signed a realisation, under the hash or under the path of the
// derivation.
func (s *search) vouchedFor(id store.DrvOutput, r *store.Realisation) bool {
	var fingerprints [][]byte
	if old, err := signature.OldRealisationFingerprint(id.Hash, id.Output, r.OutPath); err == nil {
		fingerprints = append(fingerprints, old)
	}
	if id.Path != "" {
		if f, err := signature.RealisationFingerprint(id.Path, id.Output, r.OutPath); err == nil {
			fingerprints = append(fingerprints, f)
		}
	}
	for _, text := range r.Signatures {
		sig, err := signature.Parse(text)
		if err != nil {
			continue // that is no reason to distrust the others
		}
		for _, f := range fingerprints {
			if good, _ := s.settings.TrustedKeys.Verify(f, sig); len(good) > 0 {
				return true
			}
		}
	}
	return false
}
