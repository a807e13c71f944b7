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

// A drvSource reads derivations from files, and from the store for a store path that is not a file on this machine.
type drvSource struct {
	app   *app
	store store.Store // nil until it is needed
}

// withDerivations calls work with a source, and closes the store afterwards.
func (a *app) withDerivations(work func(src *drvSource) error) error {
	src := &drvSource{app: a}
	defer func() {
		if src.store != nil {
			src.store.Close()
		}
	}()
	return work(src)
}

// A sourceDrv is a derivation from a drvSource.
type sourceDrv struct {
	*derivation.Derivation
	inputs derivation.Loader // of its inputs: the directory of the file, or the store
	path   storepath.Path    // only set by readNamed
}

// read reads a derivation, without its name. Errors name the file.
func (src *drvSource) read(ctx context.Context, file string) (*sourceDrv, error) {
	text, inputs, err := src.text(ctx, file)
	if err != nil {
		return nil, err
	}
	d, err := derivation.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("'%s': %w", file, err)
	}
	return &sourceDrv{Derivation: d, inputs: inputs}, nil
}

// text returns the text of a derivation and a loader of its inputs.
func (src *drvSource) text(ctx context.Context, file string) (text string, inputs derivation.Loader, err error) {
	b, err := os.ReadFile(file)
	if err == nil {
		return string(b), derivation.Directory(filepath.Dir(file)), nil
	}
	path, ok := src.storePath(file)
	if !errors.Is(err, fs.ErrNotExist) || !ok {
		return "", nil, err
	}
	ctx = src.app.follow(ctx)
	if src.store == nil {
		if src.store, err = src.app.open(ctx, toRead); err != nil {
			return "", nil, err
		}
	}
	inputs = store.Derivations(src.store)
	text, err = inputs.LoadDerivation(ctx, path)
	return text, inputs, err
}

// storePath returns file as the store path of a derivation, if it is one.
func (src *drvSource) storePath(file string) (storepath.Path, bool) {
	dir, err := src.app.dir()
	if err != nil {
		return "", false
	}
	path, err := dir.Parse(file)
	return path, err == nil && path.IsDerivation()
}

// readNamed reads a derivation with its name and store path. A file name without a hash part has only the name; the store
// path then follows from the contents.
func (src *drvSource) readNamed(ctx context.Context, file string) (*sourceDrv, error) {
	d, err := src.read(ctx, file)
	if err != nil {
		return nil, err
	}
	if d.Dir == "" || src.app.flags.storeDir != "" {
		if d.Dir, err = src.app.dir(); err != nil {
			return nil, err
		}
	}
	base := filepath.Base(file)
	if path, err := d.Dir.ParseBase(base); err == nil && path.IsDerivation() {
		d.path = path
		d.Name, err = derivation.NameOf(path)
		return d, err
	}
	d.Name = strings.TrimSuffix(base, storepath.DerivationExt)
	if d.path, err = d.Path(); err != nil {
		return nil, fmt.Errorf("'%s': %w", file, err)
	}
	return d, nil
}
