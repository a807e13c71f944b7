package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"pix/derivation"
	"pix/explain"
	"pix/store"
	"pix/storepath"
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
	e, err := explainContents(ctx, src, info)
	if !errors.As(err, new(*explain.NoContentAddressError)) {
		return e, err
	}
	d, err := src.readNamed(ctx, string(info.Path))
	if err != nil {
		return nil, err
	}
	outputs, err := outputsAt(ctx, src, d, info.Path)
	if err != nil {
		return nil, err
	}
	e, err = explainRead(ctx, src, d, outputs)
	if err == nil && !mayHaveOutput(e, d, info.Path) {
		e.Problems = append(e.Problems, fmt.Sprintf("'%s' is the deriver of '%s', but has no output with this path", d.path, info.Path))
	}
	return e, err
}

// mayHaveOutput reports whether the explanation of a derivation has the path of an output, or an output whose path is not known.
func mayHaveOutput(e *explain.Explanation, d *sourceDrv, path storepath.Path) bool {
	computed := map[string]string{}
	for _, s := range e.Steps {
		if s.Name == explain.StepPath {
			computed[s.Output] = s.Result
		}
	}
	for name := range d.Outputs.Keys() {
		if result, ok := computed[name]; !ok || result == string(path) {
			return true
		}
	}
	return false
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

// explainContents explains a content-addressed object, with its contents if they are small.
func explainContents(ctx context.Context, src *drvSource, info *store.PathInfo) (*explain.Explanation, error) {
	if info.CA.IsZero() || info.NARSize > explain.MaxContents {
		return explain.Path(info, nil)
	}
	archive, err := store.ReadNAR(ctx, src.store, info.Path)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return explain.Path(info, archive)
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
	return explainRead(ctx, src, d, outputs)
}

func explainRead(ctx context.Context, src *drvSource, d *sourceDrv, outputs []string) (*explain.Explanation, error) {
	return explain.Derivation(ctx, d.path, d.Derivation, d.inputs, &explain.DerivationOptions{Outputs: outputs, Text: d.text, Store: src.store})
}

// namedOutputs returns the outputs that a derived path names, or nil for all of them.
func namedOutputs(path derivation.DerivedPath) ([]string, error) {
	built, ok := path.(derivation.Built)
	if !ok || built.Outputs.All() {
		return nil, nil
	}
	return slices.Collect(built.Outputs.Names().All()), nil
}

// outputsAt returns the outputs of a derivation that have a path, which may be known only to the store. It returns nil, for all
// outputs, if there are none.
func outputsAt(ctx context.Context, src *drvSource, d *sourceDrv, path storepath.Path) (outputs []string, err error) {
	for name, o := range d.Outputs.All() {
		if o.Path() == path {
			return []string{name}, nil
		}
	}
	known, err := store.OutputMap(ctx, src.store, d.path)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	for name, p := range known {
		if p == path {
			return []string{name}, nil
		}
	}
	return nil, nil
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
		if isDir(arg) {
			return nil, &usageError{fmt.Errorf("'%s' is a directory: write its archive into a file with 'pix nar-dump', and explain the file", arg)}
		}
		f, err := os.Open(arg)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in := readAhead(ctx, f)
		defer in.Close()
		return explain.NAR(arg, in)
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
