package realise

import (
	"context"
	"fmt"
	"slices"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

var _ store.MissingQuerier = (*Store)(nil)

// QueryMissing returns what the store below returns. Like a build, it refuses dynamic paths if they are not enabled.
func (s *Store) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	if err := s.requireDynamic(ctx, paths); err != nil {
		return nil, err
	}
	return store.QueryMissing(ctx, s.Store, paths)
}

// requireDynamic returns an error if one of the paths is dynamic, and dynamic derivations are not enabled.
func (s *Store) requireDynamic(ctx context.Context, paths []derivation.DerivedPath) error {
	if !slices.ContainsFunc(paths, isDynamic) {
		return nil
	}
	c := s.newCall(ctx, store.BuildNormal)
	defer c.end()
	for _, path := range paths {
		if built, ok := path.(derivation.Built); ok {
			if err := c.requireDynamic(built.Drv); err != nil {
				return err
			}
		}
	}
	return nil
}

// The experimental features of Nix that a derivation can need.
const (
	caDerivations      = "ca-derivations"
	dynamicDerivations = "dynamic-derivations"
	impureDerivations  = "impure-derivations"
)

// require returns an error if the settings of the call do not enable an experimental feature.
func (c *call) require(feature, reason string) error {
	settings, err := c.load()
	if err != nil || settings.Require == nil {
		return err
	}
	return settings.Require(feature, reason)
}

// requireDynamic returns an error if drv is an output and dynamic derivations are not enabled.
func (c *call) requireDynamic(drv derivation.SingleDerivedPath) error {
	built, ok := drv.(derivation.SingleBuilt)
	if !ok {
		return nil
	}
	return c.require(dynamicDerivations, fmt.Sprintf("building output '%s' of '%s'", built.Output, built.Base().Base()))
}

// requireFeatures returns an error if a derivation needs a feature that is not enabled.
func (c *call) requireFeatures(d *derivation.Derivation) error {
	kind, err := d.Kind()
	if err != nil {
		return err
	}
	if d.IsDynamic() {
		if err := c.require(dynamicDerivations, fmt.Sprintf("derivation '%s', ATerm format version 'xp-dyn-drv'", d.Name)); err != nil {
			return err
		}
	}
	for _, output := range d.Outputs.All() {
		if output.Method() == storepath.Text {
			if err := c.require(dynamicDerivations, "text-hashed derivation output"); err != nil {
				return err
			}
		}
	}
	switch kind {
	case derivation.Impure:
		return c.require(impureDerivations, "")
	case derivation.Floating, derivation.Deferred:
		return c.require(caDerivations, "")
	}
	return nil
}
