package store

import (
	"context"
	"fmt"
	"io"
	"iter"

	"pix/storepath"
	"pix/wire"
)

// exportMagic follows each archive in an export: "NIXE".
const exportMagic = 0x4558494e

// ExportPaths writes the paths, and not what they refer to, in the form of nix-store --export,
// which has no signatures and no content addresses. s must be a [NARReader].
//
// The paths are in Nix's order, and each only once, so that the bytes are those that Nix would
// write. An object that is not what it was when it was registered is an error, and so is a
// path that is not valid ([*NotFoundError]); what was written until then is no export, for it
// lacks the end.
//
// Source: export-import.cc.
func ExportPaths(ctx context.Context, w io.Writer, s Store, paths []storepath.Path) error {
	infos, err := PathInfos(ctx, s, newWalk(s).Start(paths...)) // each once
	if err != nil {
		return err
	}
	if infos, err = SortByReferences(infos); err != nil {
		return err
	}
	_, err = withArchives(ctx, s, infos, readAhead{}, &CopyOptions{Quiet: true}, func(_ context.Context, objects iter.Seq2[Import, error]) error {
		var between []byte // what stands between the last archive and the next
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

// appendExported appends what follows an archive in an export.
func appendExported(dst []byte, info *PathInfo) []byte {
	dst = wire.AppendUint64(dst, exportMagic)
	dst = wire.AppendString(dst, info.Path)
	dst = wire.AppendStrings(dst, info.References)
	dst = wire.AppendString(dst, info.Deriver)
	return wire.AppendUint64(dst, 0) // no signature: Nix ignores them since 2.0
}
