package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"pix/internal/parallel"
	"pix/internal/spool"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
	"pix/wire"
)

// The limits of an import, beyond which it is refused.
const (
	maxImportedString     = 64 << 10 // bytes of a store path or a signature
	maxImportedReferences = 1 << 20  // of one path
)

// ImportPaths adds the objects of an export, as [ExportPaths] and nix-store --export write it,
// to dst, and returns their paths in the order in which they came. The hash of each archive is
// computed here. If dst refuses some of them, the others are added, except those that refer to these; the
// error is an [*AddError] then. An error of the format, a [*wire.Error] or a [*nar.Error] that says where,
// ends the import; those that were added stay.
//
// An export has no signatures (what old versions of Nix put there is ignored, as by Nix), so
// opts need to say NoSignatures, and dst must trust us, unless it wants none.
//
// What an archive is the archive of stands behind it, so it is kept until then: in memory up to
// a megabyte, else in a temporary file. The paths are kept from being collected as long as dst
// does that with what is added: see [Sessioner].
func ImportPaths(ctx context.Context, dst Store, src io.Reader, opts *AddOptions) ([]storepath.Path, error) {
	in := wire.NewReader(src, 64<<10)
	var archive spool.File
	defer archive.Close()
	var paths []storepath.Path
	var failures Failures
	for {
		info, err := nextImported(in, dst.Dir(), &archive)
		if err != nil {
			return paths, failures.Err(fmt.Errorf("importing: %w", err))
		}
		if info == nil {
			return paths, failures.Err(nil)
		}
		if err = failures.CheckReferences(info); err == nil {
			err = addSpooled(ctx, dst, info, &archive, opts)
		}
		if err == nil {
			failures.Succeed()
			paths = append(paths, info.Path)
			continue
		}
		err = fmt.Errorf("importing '%s': %w", info.Path, err)
		if ctx.Err() != nil {
			return paths, err
		}
		if stop := failures.Fail(info.Path, err); stop != nil {
			return paths, failures.Err(stop)
		}
	}
}

// addSpooled adds an object. A store that is cancelled may go on reading the archive on another goroutine.
// That ends here, before the file is used for the next archive.
func addSpooled(ctx context.Context, dst Store, info *PathInfo, archive *spool.File, opts *AddOptions) error {
	var guard parallel.Guard
	defer guard.End()
	return AddNAR(ctx, dst, info, guardedReader{&guard, archive}, opts)
}

// A guardedReader is a reader that can be read until its guard ends.
type guardedReader struct {
	guard *parallel.Guard
	src   io.Reader
}

func (r guardedReader) Read(p []byte) (n int, err error) {
	err = r.guard.Call(func() (err error) {
		n, err = r.src.Read(p)
		return err
	})
	return n, err
}

// nextImported reads an object of an export into archive. At the end it returns nil.
func nextImported(in *wire.Reader, dir storepath.Dir, archive *spool.File) (*PathInfo, error) {
	at := in.Offset()
	switch more, err := in.Uint64(); {
	case err != nil:
		return nil, truncated(in, err)
	case more == 0:
		return nil, nil
	case more != 1:
		return nil, &wire.Error{Offset: at, Reason: "it is not what nix-store --export or 'pix export' writes"}
	}
	if err := archive.Close(); err != nil { // the one before
		return nil, err
	}
	hasher := nar.NewHasher(nixhash.SHA256)
	if _, err := nar.Copy(io.MultiWriter(archive, hasher), in); err != nil {
		return nil, err
	}
	info, err := readExported(in, dir)
	if err != nil {
		return nil, truncated(in, err)
	}
	info.NARHash, info.NARSize = hasher.Hash(), hasher.Size()
	return info, archive.Rewind()
}

// truncated makes the end of a stream that comes too early an error.
func truncated(in *wire.Reader, err error) error {
	if err == io.EOF {
		return &wire.Error{Offset: in.Offset(), Reason: "the export ends too early", Err: io.ErrUnexpectedEOF}
	}
	return err
}

// readExported reads what follows an archive in an export.
func readExported(in *wire.Reader, dir storepath.Dir) (*PathInfo, error) {
	at := in.Offset()
	magic, err := in.Uint64()
	if err == nil && magic != exportMagic {
		err = &wire.Error{Offset: at, Reason: "no path follows the archive"}
	}
	if err != nil {
		return nil, err
	}
	info := new(PathInfo)
	if info.Path, err = readPath(in, dir); err != nil {
		return nil, err
	}
	if info.References, err = readReferences(in, dir); err != nil {
		return nil, err
	}
	if info.Deriver, err = readPath(in, dir); errors.Is(err, errNoPath) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	switch signed, err := in.Uint64(); {
	case err != nil:
		return nil, err
	case signed == 1:
		_, err := in.Bytes(maxImportedString)
		return info, err
	}
	return info, nil
}

// errNoPath says that there is the empty string instead of a path.
var errNoPath = errors.New("no path")

func readPath(in *wire.Reader, dir storepath.Dir) (storepath.Path, error) {
	at := in.Offset()
	s, err := in.String(maxImportedString)
	if err != nil {
		return "", err
	}
	path, err := dir.Parse(s)
	if s == "" {
		err = errNoPath
	}
	if err != nil {
		return "", &wire.Error{Offset: at, Reason: "a store path", Err: err}
	}
	return path, nil
}

// readReferences reads a list of paths. Nix writes it sorted, and would read any.
func readReferences(in *wire.Reader, dir storepath.Dir) ([]storepath.Path, error) {
	n, err := in.Limited("the number of references", maxImportedReferences)
	if err != nil {
		return nil, err
	}
	var paths []storepath.Path
	for range n {
		path, err := readPath(in, dir)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}
