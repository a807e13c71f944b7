package store

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"

	"pix/derivation"
	"pix/internal/parallel"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// AddPath adds a file or directory of this machine to s under a name, and returns its path info.
// The path is the one that Nix computes for a source: it depends on the name and on the SHA-256
// hash of the archive, and the object has no references. AddPath does not follow symlinks, and
// ignores all permissions except the execute bit. dump and opts may be nil. s must be an [Adder].
func AddPath(ctx context.Context, s Store, name, path string, dump *nar.DumpOptions, opts *AddOptions) (*PathInfo, error) {
	return addDumped(ctx, s, name, opts, func(w io.Writer) error { return nar.Dump(ctx, w, path, dump) })
}

// AddFS adds the file or directory root of fsys like [AddPath]. The name "." is all of fsys.
func AddFS(ctx context.Context, s Store, name string, fsys fs.FS, root string, dump *nar.DumpOptions, opts *AddOptions) (*PathInfo, error) {
	return addDumped(ctx, s, name, opts, func(w io.Writer) error { return nar.DumpFS(ctx, w, fsys, root, dump) })
}

// errAddEnded is the error of writing an archive that the store has stopped reading.
var errAddEnded = errors.New("the store has stopped reading the archive")

// addDumped adds the archive that dump writes. dump runs on another goroutine and calls code of the
// caller, such as a filter, so addDumped waits for its end.
func addDumped(ctx context.Context, s Store, name string, opts *AddOptions, dump func(io.Writer) error) (*PathInfo, error) {
	if _, ok := As[Adder](s); !ok {
		return nil, unsupported(s, "add objects by their contents")
	}
	r, w := io.Pipe()
	var guard parallel.Guard
	dumped := make(chan error, 1)
	go func() {
		err := io.ErrUnexpectedEOF // if dump ends the goroutine
		defer func() {
			w.CloseWithError(err)
			dumped <- err
		}()
		err = guard.Call(func() error { return dump(w) })
	}()
	info, err := Add(ctx, s, name, storepath.NAR, nixhash.SHA256, nil, r, opts)
	r.CloseWithError(errAddEnded)
	dumpErr := <-dumped
	guard.Repanic()
	if err != nil && dumpErr != nil && !errors.Is(dumpErr, errAddEnded) {
		return nil, dumpErr // a daemon does not know why the archive is incomplete
	}
	return info, err
}

// AddDerivation computes the paths of the outputs of d, adds d to s and returns its path. It
// replaces the output paths that d has, and sets the variables of the outputs that had these paths
// or were empty. So a program can read a derivation, change it and add it again. All inputs must be
// in s. After an error, d is unchanged.
//
// It returns the errors of [derivation.Derivation.FillOutputPaths],
// [derivation.Derivation.Validate] and the store.
func AddDerivation(ctx context.Context, s Store, d *derivation.Derivation) (storepath.Path, error) {
	inputs, err := derivation.LoadInputHashes(ctx, Derivations(s), d)
	if err != nil {
		return "", err
	}
	fresh, err := withOutputPaths(d, s.Dir(), inputs)
	if err != nil {
		return "", err
	}
	path, err := AddText(ctx, s, fresh.Name+storepath.DerivationExt, fresh.String(), fresh.References().Slice())
	if err != nil {
		return "", err
	}
	*d = *fresh
	return path, nil
}

// withOutputPaths returns a copy of d with computed output paths. Without a store directory it gets dir.
func withOutputPaths(d *derivation.Derivation, dir storepath.Dir, inputs derivation.InputHashes) (*derivation.Derivation, error) {
	fresh := withoutOutputPaths(d)
	fresh.Dir = cmp.Or(fresh.Dir, dir)
	if err := fresh.FillOutputPaths(inputs, nil); err != nil {
		return nil, err
	}
	return fresh, fresh.Validate()
}

// withoutOutputPaths returns a copy of d in which the paths of outputs and their variables must be
// computed.
func withoutOutputPaths(d *derivation.Derivation) *derivation.Derivation {
	fresh := d.Clone()
	for name, output := range d.Outputs.All() {
		kind := output.Kind()
		if kind != derivation.InputAddressed && kind != derivation.Fixed {
			continue
		}
		if value, ok := d.Env.Get(name); ok && value == string(output.Path()) {
			fresh.Env.Set(name, "")
		}
		if kind == derivation.InputAddressed {
			fresh.Outputs.Set(name, derivation.DeferredOutput())
		}
	}
	return fresh
}
