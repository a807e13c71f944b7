package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"pix/store"
)

// add adds a file or a directory under its own name.
func add(ctx context.Context, s store.Store, path string, out io.Writer) error {
	info, err := store.AddPath(ctx, s, filepath.Base(path), path, nil, nil)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s, %d bytes\n", info.Path, info.NARSize)
	return err
}
