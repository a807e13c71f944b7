package main

import (
	"context"
	"io"

	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// withInside opens the store and calls work for each object that the arguments name, or file in one. i is the index of the
// argument, and inside the path of the file in the object, or "" for the object itself.
func (a *app) withInside(ctx context.Context, args []string, work func(ctx context.Context, s store.Store, i int, object storepath.Path, inside string) error) error {
	names, err := a.names(args)
	if err != nil {
		return err
	}
	return a.withStore(ctx, toRead, func(ctx context.Context, s store.Store) error {
		for i := range names {
			objects, err := names[i].objects(ctx, s)
			if err != nil {
				return err
			}
			for _, object := range objects {
				if err := work(ctx, s, i, object, names[i].inside); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// withArchives is like withInside, and passes the archive of each object to work.
func (a *app) withArchives(ctx context.Context, args []string, work func(object storepath.Path, archive io.Reader, inside string) error) error {
	return a.withInside(ctx, args, func(ctx context.Context, s store.Store, _ int, object storepath.Path, inside string) error {
		return withArchive(ctx, s, object, func(archive io.Reader) error { return work(object, archive, inside) })
	})
}

// withArchive calls work with the archive of an object. It reads the rest of the archive afterwards, because the
// store verifies an archive at its end.
func withArchive(ctx context.Context, s store.Store, object storepath.Path, work func(io.Reader) error) error {
	archive, err := store.ReadNAR(ctx, s, object)
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := work(archive); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, archive)
	return err
}

// objectArchive returns the archive of an object as the input of a verb.
func objectArchive(src io.Reader, object storepath.Path) *archiveInput {
	return &archiveInput{Reader: nar.NewReader(src), name: objectName(object)}
}

// objectName returns how messages name an object.
func objectName(object storepath.Path) string { return "'" + string(object) + "'" }

// orRoot returns the path of the root for "".
func orRoot(inside string) string {
	if inside == "" {
		return "/"
	}
	return inside
}
