package store

import (
	"context"
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

// AddMultiple adds n objects to s; see [MultipleAdder]. To a store that cannot add many at once it adds them
// one by one.
func AddMultiple(ctx context.Context, s Store, n int, objects iter.Seq2[Import, error], opts *AddOptions) error {
	if a, ok := As[MultipleAdder](s); ok {
		return a.AddMultipleToStore(ctx, n, objects, opts)
	}
	return AddOneByOne(ctx, n, objects, func(info *PathInfo, archive io.Reader) error {
		return AddNAR(ctx, s, info, archive, opts)
	})
}

// ReadNAR returns the archive of an object in s; see [NARReader].
func ReadNAR(ctx context.Context, s Store, path storepath.Path) (io.ReadCloser, error) {
	if r, ok := As[NARReader](s); ok {
		return r.NARFromPath(ctx, path)
	}
	return nil, unsupported(s, "give the contents of paths")
}
