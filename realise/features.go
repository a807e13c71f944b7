package realise

import (
	"fmt"

	"pix/derivation"
	"pix/storepath"
)

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
