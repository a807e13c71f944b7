package main

import (
	"context"

	"pix/explain"
)

// explainRebuild prints why a derivation is built again.
func (a *app) explainRebuild(ctx context.Context, src *drvSource, old, current string, o *explainOptions) error {
	var both [2]explain.Drv
	for i, arg := range []string{old, current} {
		d, err := src.readNamed(ctx, arg)
		if err != nil {
			return err
		}
		both[i] = d.explained()
	}
	r, err := explain.WhyRebuilt(ctx, both[0], both[1])
	if err != nil {
		return err
	}
	if err := a.pageEither(ctx, string(r.AppendText(nil, a.textOptions(o))), r, o.asJSON); err != nil {
		return err
	}
	if !r.Same {
		return &silentError{exitNo}
	}
	return nil
}

// explainInfluence prints which derivations affect the outputs of a derivation.
func (a *app) explainInfluence(ctx context.Context, src *drvSource, arg string, o *explainOptions) error {
	d, err := src.readNamed(ctx, arg)
	if err != nil {
		return err
	}
	i, err := explain.Affects(ctx, d.explained())
	if err != nil {
		return err
	}
	return a.pageEither(ctx, string(i.AppendText(nil, a.textOptions(o))), i, o.asJSON)
}
