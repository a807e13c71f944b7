package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A drvSource reads derivations from files, and from the store for objects that are not files on this machine.
type drvSource struct {
	app   *app
	store store.Store // nil until it is needed
	dirs  []string    // of the .drv files outside of the store that were read
}

// withDerivations calls work with a source, and closes the store afterwards.
func (a *app) withDerivations(work func(src *drvSource) error) error {
	src := &drvSource{app: a}
	defer func() {
		if src.store != nil {
			src.store.Close()
		}
	}()
	return src.explainMissing(work(src))
}

// explainMissing adds to the error of a missing input where pix has looked for it.
func (src *drvSource) explainMissing(err error) error {
	load, ok := errors.AsType[*derivation.LoadError](err)
	if !ok || !errors.Is(load, fs.ErrNotExist) || len(src.dirs) == 0 {
		return err
	}
	return fmt.Errorf("%w: inputs of a .drv file must be in its directory", err)
}

// A sourceDrv is a derivation from a drvSource.
type sourceDrv struct {
	*derivation.Derivation
	text   string            // which may not be canonical
	inputs derivation.Loader // of its inputs: the directory of the file, or the store
	path   storepath.Path
}

// readNamed reads a derivation with its name and store path. The argument is a .drv file, - for standard input, or a name
// of a store object: a derivation, outputs of one, or an object with a deriver. A file whose name has no hash part has only
// a name; the store path then follows from the contents. Errors name the argument.
func (src *drvSource) readNamed(ctx context.Context, arg string) (*sourceDrv, error) {
	t, err := src.text(ctx, arg)
	if err != nil {
		return nil, err
	}
	parsed, err := derivation.Parse(t.text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", inputName(arg), err)
	}
	d := &sourceDrv{Derivation: parsed, text: t.text, inputs: t.inputs}
	if d.Dir == "" || src.app.flags.storeDir != "" {
		if d.Dir, err = src.app.dir(); err != nil {
			return nil, err
		}
	}
	if path, err := d.Dir.ParseBase(t.base); err == nil && path.IsDerivation() {
		d.path = path
		d.Name, err = derivation.NameOf(path)
		return d, err
	}
	if d.Name = strings.TrimSuffix(t.base, storepath.DerivationExt); arg == "-" {
		d.Name, _ = d.Env.Get("name")
	}
	if d.path, err = d.Path(); err != nil {
		return nil, fmt.Errorf("%s: %w", inputName(arg), err)
	}
	return d, nil
}

// A drvText is the text of a derivation, with its base name and a loader of its inputs.
type drvText struct {
	text, base string
	inputs     derivation.Loader
}

// text returns the text of the derivation that an argument names.
func (src *drvSource) text(ctx context.Context, arg string) (t drvText, err error) {
	if arg == "-" {
		dir, err := src.app.dir()
		if err != nil {
			return t, err
		}
		text, err := src.app.readSmall(ctx, arg, derivation.MaxFile)
		return drvText{string(text), "", derivation.Directory(dir)}, err
	}
	n, isName := src.name(arg)
	file := arg
	isDerivation := isName && n.isDerivation()
	if isDerivation {
		file = string(n.path)
	} else if base, _, _, ok := cutOutputs(arg); ok && !isName && strings.HasSuffix(base, storepath.DerivationExt) {
		file = base // a .drv file outside of the store
	}
	if !isName || isDerivation {
		text, err := src.app.readSmall(ctx, file, derivation.MaxFile)
		if err == nil {
			src.dirs = append(src.dirs, filepath.Dir(file))
			return drvText{string(text), filepath.Base(file), derivation.Directory(filepath.Dir(file))}, nil
		}
		if !isName || !errors.Is(err, fs.ErrNotExist) {
			return t, err
		}
	}
	return src.fromStore(ctx, n)
}

// name returns an argument as the name of a store object, if it is one.
func (src *drvSource) name(arg string) (storeName, bool) {
	names, err := src.app.names([]string{arg})
	if err != nil {
		return storeName{}, false
	}
	if _, err := os.Stat(arg); err == nil && names[0].hashPart != "" {
		return storeName{}, false // a file with such a name
	}
	return names[0], true
}

// open returns the store, which it opens at the first call.
func (src *drvSource) open(ctx context.Context) (store.Store, error) {
	var err error
	if src.store == nil {
		src.store, err = src.app.open(ctx, toRead)
	}
	return src.store, err
}

// fromStore reads a derivation from the store.
func (src *drvSource) fromStore(ctx context.Context, n storeName) (t drvText, err error) {
	ctx = src.app.follow(ctx)
	s, err := src.open(ctx)
	if err != nil {
		return t, err
	}
	path, err := n.derivation(ctx, s)
	if err != nil {
		return t, err
	}
	t.base, t.inputs = path.Base(), store.Derivations(s)
	t.text, err = t.inputs.LoadDerivation(ctx, path)
	return t, err
}
