package builder

import (
	"context"
	"slices"
	"strings"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// checkOutputs checks the conditions of the derivation for its outputs.
//
// Source: src/libstore/build/derivation-check.cc in Nix. Unlike Nix, conditions may also name outputs that were valid
// before the build.
func (f *finisher) checkOutputs(ctx context.Context) error {
	byPath := make(map[storepath.Path]*made)
	for _, m := range f.made {
		byPath[m.info.Path] = m
	}
	for _, m := range f.made {
		if err := f.checkFixed(m); err != nil {
			return err
		}
		checks := f.options.Checks
		if checks == nil {
			own, ok := f.options.OutputChecks.Get(m.name)
			if !ok {
				continue
			}
			checks = &own
		}
		c := outputCheck{finisher: f, checks: checks, m: m, byPath: byPath}
		if err := c.apply(ctx); err != nil {
			return err
		}
	}
	return nil
}

// checkFixed checks that a fixed output has the hash in the derivation, and no references.
func (f *finisher) checkFixed(m *made) error {
	spec, _ := f.drv.Outputs.Get(m.name)
	if spec.Kind() != derivation.Fixed {
		return nil
	}
	if wanted, got := spec.ContentAddress().Hash(), m.info.CA.Hash(); wanted != got {
		failure := rejected("hash mismatch in fixed-output derivation '%s':\n  specified: %s\n     got:    %s", f.req.Path, wanted.SRI(), got.SRI())
		failure.HashMismatch = true
		return failure
	}
	if refs := m.info.References; len(refs) > 0 {
		failure := rejected("fixed-output derivations must not reference store paths: '%s' references %d distinct paths, e.g. '%s'", f.req.Path, len(refs), refs[0])
		failure.HashMismatch = true
		return failure
	}
	return nil
}

// An outputCheck checks the conditions for one output.
type outputCheck struct {
	*finisher
	checks *derivation.OutputChecks
	m      *made
	byPath map[storepath.Path]*made

	requisites []storepath.Path // the closure of the output, sorted; nil until it is needed
	size       uint64           // of the archives in the closure
}

func (c *outputCheck) apply(ctx context.Context) error {
	info := &c.m.info
	if limit := c.checks.MaxSize; limit != nil && info.NARSize > *limit {
		return rejected("path '%s' is too large at %d bytes; limit is %d bytes", info.Path, info.NARSize, *limit)
	}
	if limit := c.checks.MaxClosureSize; limit != nil {
		if err := c.closure(ctx); err != nil {
			return err
		}
		if c.size > *limit {
			return rejected("closure of path '%s' is too large at %d bytes; limit is %d bytes", info.Path, c.size, *limit)
		}
	}
	for _, condition := range []struct {
		paths              []derivation.Reference
		allowed, recursive bool
		applies            bool
	}{
		{c.checks.AllowedReferences, true, false, c.checks.AllowedReferences != nil},
		{c.checks.AllowedRequisites, true, true, c.checks.AllowedRequisites != nil},
		{c.checks.DisallowedReferences, false, false, len(c.checks.DisallowedReferences) > 0},
		{c.checks.DisallowedRequisites, false, true, len(c.checks.DisallowedRequisites) > 0},
	} {
		if !condition.applies {
			continue
		}
		if err := c.references(ctx, condition.paths, condition.allowed, condition.recursive); err != nil {
			return err
		}
	}
	return nil
}

// references returns a failure if the output refers to a path outside list, if allowed is set, or otherwise to a path
// in list.
func (c *outputCheck) references(ctx context.Context, list []derivation.Reference, allowed, recursive bool) error {
	listed := make(map[storepath.Path]bool, len(list))
	for _, ref := range list {
		path, err := c.resolve(ref)
		if err != nil {
			return err
		}
		listed[path] = true
	}
	used := c.m.info.References
	if recursive {
		if err := c.closure(ctx); err != nil {
			return err
		}
		used = c.requisites
	}
	var bad strings.Builder
	for _, p := range used {
		if recursive && c.checks.IgnoreSelfRefs && p == c.m.info.Path {
			continue
		}
		if listed[p] != allowed {
			bad.WriteString("\n  " + string(p))
		}
	}
	if bad.Len() > 0 {
		return rejected("output '%s' is not allowed to refer to the following paths:%s", c.m.info.Path, bad.String())
	}
	return nil
}

// resolve returns the path that a condition names: as an output of this derivation, as an output of an input, or as a
// store path.
func (c *outputCheck) resolve(ref derivation.Reference) (storepath.Path, error) {
	switch p := ref.Path.(type) {
	case derivation.Opaque:
		return p.Path, nil
	case derivation.SingleBuilt:
		return c.req.Inputs[p.Drv.Base()][p.Output], nil
	}
	names := make([]string, len(c.outputs))
	for i, o := range c.outputs {
		if o.name == ref.Output {
			return c.finals[o.scratch], nil
		}
		names[i] = o.name
	}
	return "", rejected("derivation '%s' output check for '%s' contains output name '%s', but this is not a valid output of this derivation. (Valid outputs are [%s].)",
		c.req.Path, c.m.name, ref.Output, strings.Join(names, ", "))
}

// closure computes the closure of the output. It may contain other outputs of the build, which are not valid yet.
func (c *outputCheck) closure(ctx context.Context) error {
	if c.requisites != nil {
		return nil
	}
	seen := map[storepath.Path]bool{c.m.info.Path: true}
	c.requisites = []storepath.Path{c.m.info.Path}
	for i := 0; i < len(c.requisites); i++ {
		info, err := c.infoOf(ctx, c.requisites[i])
		if err != nil {
			return err
		}
		c.size += info.NARSize
		for _, ref := range info.References {
			if !seen[ref] {
				seen[ref] = true
				c.requisites = append(c.requisites, ref)
			}
		}
	}
	slices.Sort(c.requisites)
	return nil
}

func (c *outputCheck) infoOf(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if m := c.byPath[path]; m != nil {
		return &m.info, nil
	}
	return c.store.QueryPathInfo(ctx, path)
}
