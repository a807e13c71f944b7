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

// A content-addressed output has no path before it is built. Realisations map the output of a derivation
// to its path, so they need signatures as paths do: that a path follows from its contents does not
// prove that it is the output of this derivation.

// findOutput asks the substituters for the path of an output of a valid derivation; it is "" if none
// knows it. With signed, the realisation must have a signature that the settings accept.
func (c *call) findOutput(ctx context.Context, drv storepath.Path, output string, signed bool) (storepath.Path, error) {
	search, err := c.openSearch()
	if err != nil {
		return "", err
	}
	l := &locator{call: c, search: search, signed: signed, known: make(map[derivation.SingleBuilt]storepath.Path), resolving: make(map[storepath.Path]bool)}
	r, err := l.realisation(ctx, drv, output)
	if err != nil || r == nil {
		return "", err
	}
	if signed { // an unsigned realisation must not be registered
		c.located[drv] = append(c.located[drv], *r)
	}
	return r.OutPath, nil
}

// A locator asks the substituters about an output of a derivation and, if necessary, about outputs of its
// inputs: Nix up to 2.34 identifies an output by the hash of the derivation, and Nix from 2.35 on by the path
// of the resolved derivation.
type locator struct {
	*call
	search *search
	signed bool
	known  map[derivation.SingleBuilt]storepath.Path // outputs of inputs; "" is unknown

	resolving    map[storepath.Path]bool // derivations
	depth, bytes int                     // of them
}

// Resolving a derivation resolves its inputs first, with the whole chain in memory. Clients can add long
// chains, so these limits bound the stack and the heap.
const (
	maxResolving      = 10_000
	maxResolvingBytes = 64 << 20
)

// realisation returns the realisation that a substituter has of an output of a valid derivation, or nil.
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
		if id.Path, err = l.resolved(ctx, drv, d, len(text)); id.Path == "" || err != nil {
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
// one of these is not known. A derivation that a builder made can need itself, so that its outputs are not known.
func (l *locator) resolved(ctx context.Context, drv storepath.Path, d *derivation.Derivation, size int) (storepath.Path, error) {
	if l.resolving[drv] {
		return "", nil
	}
	l.resolving[drv], l.depth, l.bytes = true, l.depth+1, l.bytes+size
	defer func() { l.depth, l.bytes = l.depth-1, l.bytes-size; delete(l.resolving, drv) }()
	if l.depth > maxResolving || l.depth > 1 && l.bytes > maxResolvingBytes {
		return "", nil
	}
	return store.ResolvedPath(d, func(drv derivation.SingleDerivedPath, output string) (storepath.Path, error) {
		return l.outputOf(ctx, derivation.SingleBuilt{Drv: drv, Output: output})
	})
}

// outputOf returns the path of an output in this store or in a substituter, or "".
func (l *locator) outputOf(ctx context.Context, built derivation.SingleBuilt) (path storepath.Path, err error) {
	if path, ok := l.known[built]; ok {
		return path, nil
	}
	drv := built.Drv.Base()
	if inner, ok := built.Drv.(derivation.SingleBuilt); ok {
		if drv, err = l.outputOf(ctx, inner); err != nil || !drv.IsDerivation() {
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
	if errors.Is(err, store.ErrNotFound) { // this store lacks a derivation
		err = nil
	}
	if err == nil {
		l.known[built] = outputs[built.Output]
	}
	return outputs[built.Output], err
}

// registerOutputs registers the realisations of a derivation whose output paths are valid.
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

// realisation asks the substituters for the realisation of an output. It is nil if none has one, or, with
// signed, none that the settings accept.
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
				s.reportFailure(i, err)
			}
			continue
		}
		if !signed || sub.Trusted || s.settings.NoSignatures || s.settings.UnsignedRealisations || s.isSigned(id, r) {
			return r, nil
		}
		s.report.log(activity.LevelWarn, "warning: ignoring substitute for build trace '%s' -> '%s' from '%s', as it's not signed by any of the keys in 'trusted-public-keys'", nameOfOutput(id), r.OutPath, sub.URI)
	}
	return nil, nil
}

// queryRealisation asks one substituter about an output. If it does not answer, it is not asked about
// realisations again. It is still asked about paths, because some caches hang only on realisations.
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

// nameOfOutput returns the name that Nix prints for an output.
func nameOfOutput(id store.DrvOutput) string {
	if id.Hash.IsZero() {
		return id.PathID()
	}
	return id.HashID()
}

// isSigned reports whether a trusted key has signed a realisation, under the hash or the path of its
// derivation.
func (s *search) isSigned(id store.DrvOutput, r *store.Realisation) bool {
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
			continue // a malformed signature does not invalidate the others
		}
		for _, f := range fingerprints {
			if good, _ := s.settings.TrustedKeys.Verify(f, sig); len(good) > 0 {
				return true
			}
		}
	}
	return false
}
