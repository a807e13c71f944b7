package main

import (
	"context"
	"fmt"
	"io"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// rebuild sets a variable of a derivation, adds the changed derivation, builds it and prints its outputs.
func rebuild(ctx context.Context, s store.Store, drv, variable, value string, out io.Writer) error {
	path, err := s.Dir().Parse(drv)
	if err != nil {
		return err
	}
	d, err := store.ReadDerivation(ctx, s, path)
	if err != nil {
		return err
	}
	d.Env.Set(variable, value)
	var outputs map[string]storepath.Path
	err = store.InSession(ctx, s, func(s store.Store) error { // keeps the added derivation until the build has ended
		if path, err = store.AddDerivation(ctx, s, d); err != nil {
			return err
		}
		all := derivation.Built{Drv: derivation.Opaque{Path: path}, Outputs: derivation.AllOutputs()}
		if err := store.BuildPaths(ctx, s, []derivation.DerivedPath{all}, store.BuildNormal); err != nil {
			return err
		}
		outputs, err = store.OutputMap(ctx, s, path)
		return err
	})
	if err != nil {
		return err
	}
	for name := range d.Outputs.Keys() {
		fmt.Fprintf(out, "%s %s\n", name, outputs[name])
	}
	return nil
}
