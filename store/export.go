package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"pix/internal/parallel"
	"pix/internal/spool"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
	"pix/wire"
)

// exportMagic ("NIXE") follows each archive in an export.
const exportMagic = 0x4558494e

// ExportPaths writes the paths, without their references, in the format of nix-store --export,
// which has no signatures and no content addresses. s must be a [NARReader].
//
// The paths are in Nix's order and without duplicates, so that the bytes are the same as Nix's.
// An object that has changed since its registration is an error, and so is an invalid path
// ([*NotFoundError]). After an error the output is not a complete export, since its end is
// missing.
//
// Source: export-import.cc.
func ExportPaths(ctx context.Context, w io.Writer, s Store, paths []storepath.Path) error {
	infos, err := PathInfos(ctx, s, newWalk(s).Start(paths...)) // without duplicates
	if err != nil {
		return err
	}
	if infos, err = SortByReferences(infos); err != nil {
		return err
	}
	_, err = withArchives(ctx, s, infos, readAhead{}, &CopyOptions{Quiet: true}, func(_ context.Context, objects iter.Seq2[Import, error]) error {
		var between []byte // the bytes between two archives
		for object, err := range objects {
			if err != nil {
				return fmt.Errorf("exporting: %w", err)
			}
			if _, err := w.Write(wire.AppendUint64(between, 1)); err != nil {
				return err
			}
			if _, err := io.Copy(w, object.NAR); err != nil {
				return fmt.Errorf("exporting '%s': %w", object.Info.Path, err)
			}
			between = appendExported(between[:0], object.Info)
		}
		_, err := w.Write(wire.AppendUint64(between, 0))
		return err
	})
	return err
}

// appendExported appends the data that follows an archive in an export.
func appendExported(dst []byte, info *PathInfo) []byte {
	dst = wire.AppendUint64(dst, exportMagic)
	dst = wire.AppendString(dst, info.Path)
	dst = wire.AppendStrings(dst, info.References)
	dst = wire.AppendString(dst, info.Deriver)
	return wire.AppendUint64(dst, 0) // no signature: Nix ignores them since 2.0
}

// Limits of an import.
const (
	maxImportedString     = 64 << 10 // length in bytes of a store path or a signature
	maxImportedReferences = 1 << 20  // references of one path
)

// ImportPaths adds the objects of an export, as written by [ExportPaths] and nix-store
// --export, to dst, and returns their paths in the order of the export. It computes the hash of
// each archive. If dst refuses some of them, it adds the others, except those that refer to
// refused ones. Then the error is an [*AddError]. An error in the format, a [*wire.Error] or a
// [*nar.Error] with its offset, ends the import. Objects that were added before stay.
//
// ImportPaths reads src to its end and adds the objects of every export in it, because files with
// exports can be concatenated. Nix ignores all bytes after the first export.
//
// An export has no signatures. Like Nix, ImportPaths ignores the signatures of old versions. So opts
// need NoSignatures, and dst must trust the user, unless it requires no signatures.
//
// The path of an archive comes after it, so the archive is kept until then: in memory up to a
// megabyte, otherwise in a temporary file. dst protects the added paths from garbage collection
// as usual: see [Sessioner].
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

// addSpooled adds an object. A cancelled store may continue to read the archive on another
// goroutine. addSpooled ends this before the file is used for the next archive.
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

// nextImported reads the next object into archive. At the end of the stream it returns nil.
func nextImported(in *wire.Reader, dir storepath.Dir, archive *spool.File) (*PathInfo, error) {
	if more, err := hasMoreImported(in); !more {
		return nil, err
	}
	if err := archive.Close(); err != nil { // the previous archive
		return nil, err
	}
	hasher := nar.NewHasher(nixhash.SHA256)
	if _, err := nar.Copy(io.MultiWriter(archive, hasher), in); err != nil {
		return nil, err
	}
	info, err := readExported(in, dir)
	if err != nil {
		return nil, truncatedError(in, err)
	}
	info.NARHash, info.NARSize = hasher.Hash(), hasher.Size()
	return info, archive.Rewind()
}

// hasMoreImported reads the word before an object, or the word 0 that ends an export. After the end it
// continues with the next export, until the stream ends.
func hasMoreImported(in *wire.Reader) (bool, error) {
	for complete := false; ; complete = true {
		at := in.Offset()
		switch word, err := in.Uint64(); {
		case err == io.EOF && complete:
			return false, nil
		case err != nil:
			return false, truncatedError(in, err)
		case word == 1:
			return true, nil
		case word != 0:
			return false, &wire.Error{Offset: at, Reason: "it is not the output of nix-store --export or 'pix export'"}
		}
	}
}

// truncatedError turns an unexpected end of the stream into an error.
func truncatedError(in *wire.Reader, err error) error {
	if err == io.EOF {
		return &wire.Error{Offset: in.Offset(), Reason: "the export is truncated", Err: io.ErrUnexpectedEOF}
	}
	return err
}

// readExported reads the data that follows an archive in an export.
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
	if info.Deriver, err = readPath(in, dir); errors.Is(err, errEmptyPath) {
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

// errEmptyPath means that the path is the empty string.
var errEmptyPath = errors.New("no path")

func readPath(in *wire.Reader, dir storepath.Dir) (storepath.Path, error) {
	at := in.Offset()
	s, err := in.String(maxImportedString)
	if err != nil {
		return "", err
	}
	path, err := dir.Parse(s)
	if s == "" {
		err = errEmptyPath
	}
	if err != nil {
		return "", &wire.Error{Offset: at, Reason: "a store path", Err: err}
	}
	return path, nil
}

// readReferences reads a list of paths. Nix writes it sorted, but accepts any order.
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
