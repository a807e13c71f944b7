package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pix/derivation"
	"pix/explain"
	"pix/store"
)

// explainName explains a name of a store object: a content-addressed object itself, and otherwise its deriver.
func explainName(ctx context.Context, src *drvSource, arg string, n storeName) (*explain.Explanation, error) {
	if n.isDerivation() {
		outputs, err := namedOutputs(n.built)
		if err != nil {
			return nil, err
		}
		return explainDerivation(ctx, src, arg, outputs)
	}
	info, err := src.pathInfo(ctx, n)
	if err != nil {
		return nil, err
	}
	e, err := explain.PathIn(ctx, src.store, info)
	if !errors.As(err, new(*explain.NoContentAddressError)) {
		return e, err
	}
	d, err := src.readNamed(ctx, string(info.Path))
	if err != nil {
		return nil, err
	}
	return explain.Output(ctx, info.Path, d.explained(), d.explainOptions(src, nil))
}

// explainDigits explains digits that are the hash part of a path of the store, or else a digest. An MD5 in base 16 and a SHA-1 in base
// 32 are as long as a hash part.
func explainDigits(ctx context.Context, src *drvSource, arg string, n storeName) (*explain.Explanation, error) {
	s, err := src.open(src.app.follow(ctx))
	if err == nil {
		err = n.find(ctx, s)
	}
	if err == nil {
		return explainName(ctx, src, arg, n)
	}
	if e, notAHash := explain.Hash(arg); notAHash == nil && ctx.Err() == nil {
		return e, nil
	}
	return nil, err
}

// explainDerivation explains a derivation, or some outputs of it.
func explainDerivation(ctx context.Context, src *drvSource, arg string, outputs []string) (*explain.Explanation, error) {
	d, err := src.readNamed(ctx, arg)
	if err != nil {
		return nil, err
	}
	for _, output := range outputs {
		if !d.Outputs.Has(output) {
			return nil, fmt.Errorf("derivation '%s' does not have an output named '%s'", d.path, output)
		}
	}
	return explain.Derivation(ctx, d.explained(), d.explainOptions(src, outputs))
}

// explained returns the derivation for package explain.
func (d *sourceDrv) explained() explain.Drv {
	return explain.Drv{Path: d.path, Derivation: d.Derivation, Inputs: d.inputs}
}

// explainOptions returns the options for explaining some outputs of the derivation. Nil means all.
func (d *sourceDrv) explainOptions(src *drvSource, outputs []string) *explain.DerivationOptions {
	return &explain.DerivationOptions{Outputs: outputs, Text: d.text, Store: src.store}
}

// namedOutputs returns the outputs that a derived path names, or nil for all of them.
func namedOutputs(path derivation.DerivedPath) ([]string, error) {
	built, ok := path.(derivation.Built)
	if !ok || built.Outputs.All() {
		return nil, nil
	}
	return slices.Collect(built.Outputs.Names().All()), nil
}

// pathInfo returns the info of the store object that a name stands for.
func (src *drvSource) pathInfo(ctx context.Context, n storeName) (*store.PathInfo, error) {
	ctx = src.app.follow(ctx)
	s, err := src.open(ctx)
	if err != nil {
		return nil, err
	}
	path, err := objectOf(ctx, s, n)
	if err != nil {
		return nil, err
	}
	return s.QueryPathInfo(ctx, path)
}

// explainArchive explains the archive in a file or of a store object.
func (a *app) explainArchive(ctx context.Context, src *drvSource, arg string, n storeName, isName bool) (*explain.Explanation, error) {
	if !isName {
		in, err := a.openContents(ctx, arg)
		if err != nil {
			return nil, err
		}
		defer in.Close()
		subject := arg
		if arg == "-" {
			subject = stdinName
		}
		e, err := explain.NAR(subject, in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", inputName(arg), err)
		}
		return e, nil
	}
	info, err := src.pathInfo(ctx, n)
	if err != nil {
		return nil, err
	}
	archive, err := store.ReadNAR(ctx, src.store, info.Path)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return explain.NAR(string(info.Path), archive)
}

// explainSignatures explains the signatures in a narinfo file or of a store object.
func (a *app) explainSignatures(ctx context.Context, src *drvSource, arg string, n storeName, isName bool, o *explainOptions) (*explain.Explanation, error) {
	keys, err := a.verifyingKeys(&o.keys, o.keysGiven)
	if err != nil {
		return nil, err
	}
	if !isName {
		info, err := a.readNARInfo(ctx, arg)
		if err != nil {
			return nil, err
		}
		return explain.Signature(&info.PathInfo, keys)
	}
	info, err := src.pathInfo(ctx, n)
	if err != nil {
		return nil, err
	}
	return explain.Signature(info, keys)
}
