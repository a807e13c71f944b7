package store

import (
	"context"
	"fmt"
	"io"
	"iter"

	"pix/storepath"
)

// AddNAR adds an object to s; see [NARAdder].
func AddNAR(ctx context.Context, s Store, info *PathInfo, nar io.Reader, opts *AddOptions) error {
	if a, ok := As[NARAdder](s); ok {
		return a.AddToStoreNAR(ctx, info, nar, opts)
	}
	return unsupported(s, "add objects")
}

// AddMultiple adds n objects to s, those that others refer to first; see [MultipleAdder].
// A store that cannot take many at once takes them one by one.
func AddMultiple(ctx context.Context, s Store, n int, objects iter.Seq2[Import, error], opts *AddOptions) error {
	if a, ok := As[MultipleAdder](s); ok {
		return a.AddMultipleToStore(ctx, n, objects, opts)
	}
	got := 0
	for object, err := range objects {
		if err == nil {
			got++
			err = AddNAR(ctx, s, object.Info, object.NAR, opts)
		}
		if err != nil {
			return err
		}
	}
	if got != n {
		return fmt.Errorf("%d objects came instead of %d", got, n)
	}
	return nil
}

// ReadNAR returns the archive of an object in s; see [NARReader].
func ReadNAR(ctx context.Context, s Store, path storepath.Path) (io.ReadCloser, error) {
	if r, ok := As[NARReader](s); ok {
		return r.NARFromPath(ctx, path)
	}
	return nil, unsupported(s, "give the contents of paths")
}
