package explain_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"pix/derivation"
	"pix/explain"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A program explains any path of a store: a derivation, a content-addressed object, or an output of the derivation that built it.
func Example() {
	ctx := context.Background()
	s := memstore.New(nil) // or pix.Open(ctx, "auto", nil)
	path, err := store.AddText(ctx, s, "hello.txt", "hello world", nil)
	if err != nil {
		log.Fatal(err)
	}
	d, err := derivation.Parse(`Derive([("out","","","")],[],[],"x86_64-linux","/bin/sh",[],[("out","")])`)
	if err != nil {
		log.Fatal(err)
	}
	d.Name = "hello"
	drv, err := store.AddDerivation(ctx, s, d)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range []storepath.Path{path, drv} {
		e, err := explainIn(ctx, s, p)
		if err != nil {
			log.Fatal(err)
		}
		last := e.Steps[len(e.Steps)-1]
		fmt.Printf("%s in %d steps\n= %s\n", e.Kind, len(e.Steps), last.Result)
	}
	// Output:
	// text in 5 steps
	// = /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt
	// input-addressed derivation in 11 steps
	// = /nix/store/acszwv0ilfh5idblpvz8wjp0ky6ycyv7-hello.drv
}

// explainIn explains a path of a store.
func explainIn(ctx context.Context, s store.Store, path storepath.Path) (*explain.Explanation, error) {
	inputs := store.Derivations(s)
	options := &explain.DerivationOptions{Store: s}
	if path.IsDerivation() {
		d, err := store.ReadDerivation(ctx, s, path)
		if err != nil {
			return nil, err
		}
		return explain.Derivation(ctx, explain.Drv{Path: path, Derivation: d, Inputs: inputs}, options)
	}
	info, err := s.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	e, err := explain.PathIn(ctx, s, info)
	if !errors.As(err, new(*explain.NoContentAddressError)) || info.Deriver == "" {
		return e, err
	}
	d, err := store.ReadDerivation(ctx, s, info.Deriver)
	if err != nil {
		return nil, err
	}
	return explain.Output(ctx, path, explain.Drv{Path: info.Deriver, Derivation: d, Inputs: inputs}, options)
}
