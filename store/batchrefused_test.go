package store_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// missingSource is a valid path of no store.
const missingSource = storepath.Path("/nix/store/00000000000000000000000000000000-missing")

// alternating returns n derivations. A store refuses every second one.
func alternating(n int) (ds []*derivation.Derivation) {
	for i := range n {
		d := unnamed(fmt.Sprint("d", i))
		if i%2 == 1 {
			d.InputSources.Add(storepath.Path(fmt.Sprintf("/nix/store/%032d-missing", i)))
		}
		ds = append(ds, d)
	}
	return ds
}

// Refused objects between accepted ones are not consecutive failures: all others are added. A
// daemon may add them all in the first stream, and then the refused ones are consecutive.
func TestBatchManyRefused(t *testing.T) {
	const n = 60
	for name, s := range batchStores(t) {
		t.Run(name, func(t *testing.T) {
			paths, err := store.AddDerivations(t.Context(), s, alternating(n))
			if failed, ok := errors.AsType[*store.AddError](err); !ok || failed.Err == nil && len(failed.Failed) != n/2 {
				t.Fatalf("%v", err)
			}
			if valid, err := s.QueryValidPaths(t.Context(), paths, false); err != nil || len(valid) != n/2 {
				t.Errorf("%d derivations were added, %v", len(valid), err)
			}
		})
	}
}

// A refusing is a store that ends a stream at the first object that it refuses, like a daemon.
type refusing struct {
	*memstore.Store
	streams, sent int
}

func (s *refusing) AddMultipleToStore(ctx context.Context, _ int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	s.streams++
	for object, err := range objects {
		s.sent++
		if err == nil {
			err = s.AddToStoreNAR(ctx, object.Info, object.NAR, opts)
		}
		if err != nil {
			return &activity.Error{Message: err.Error()}
		}
	}
	return nil
}

func (s *refusing) AddTextToStore(ctx context.Context, name, contents string, refs []storepath.Path) (storepath.Path, error) {
	path, err := s.Store.AddTextToStore(ctx, name, contents, refs)
	if err != nil {
		err = &activity.Error{Message: err.Error()}
	}
	return path, err
}

// The number of streams is bounded: each asks for the validity of the rest.
func TestBatchStreams(t *testing.T) {
	s := &refusing{Store: memstore.New(nil)}
	const n = 400
	_, err := store.AddDerivations(t.Context(), s, alternating(n))
	if failed, ok := errors.AsType[*store.AddError](err); !ok || failed.Err != nil || len(failed.Failed) != n/2 {
		t.Fatalf("%v", err)
	}
	if s.streams > 20 || s.sent > 100 {
		t.Errorf("%d streams with %d objects", s.streams, s.sent)
	}
}

// A lossy is a store that loses its connection after a number of texts.
type lossy struct {
	textsOnly
	left, tried int
}

var errLost = errors.New("connection lost")

func (s *lossy) AddTextToStore(ctx context.Context, name, contents string, refs []storepath.Path) (storepath.Path, error) {
	s.tried++
	if s.left--; s.left < 0 {
		return "", errLost
	}
	return s.textsOnly.AddTextToStore(ctx, name, contents, refs)
}

func (s *lossy) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	if s.left < 0 {
		return false, errLost
	}
	return s.textsOnly.IsValidPath(ctx, path)
}

// A lost connection ends Flush. It is not the failure of one object after another.
func TestBatchLostConnection(t *testing.T) {
	memory := memstore.New(nil)
	s := &lossy{textsOnly: textsOnly{memory, memory, memory}, left: 3}
	b := store.NewBatch(s)
	for i := range 10 {
		if _, err := b.AddText(fmt.Sprint("text", i), "", nil); err != nil {
			t.Fatal(err)
		}
	}
	err := b.Flush(t.Context())
	if _, refused := errors.AsType[*store.AddError](err); refused || !errors.Is(err, errLost) {
		t.Errorf("%v", err)
	}
	if s.tried != 4 {
		t.Errorf("%d texts were tried", s.tried)
	}
}

// A batch accepts no invalid name and no invalid reference, and stays empty.
func TestBatchHostileNames(t *testing.T) {
	b := store.NewBatch(memstore.New(nil))
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b", "a\nb", "é", string(make([]byte, 300))} {
		if path, err := b.AddText(name, "", nil); err == nil {
			t.Errorf("the name %q gives %s", name, path)
		}
		if path, err := b.AddDerivation(t.Context(), unnamed(name)); err == nil {
			t.Errorf("the derivation %q gives %s", name, path)
		}
	}
	for _, reference := range []storepath.Path{"", "/", "/etc/passwd", "/nix/store", "/nix/store/../x", missingSource + "/x", "/nix/store/short-x", missingSource + "\x00", "/elsewhere" + missingSource} {
		if path, err := b.AddText("x", "", []storepath.Path{reference}); err == nil {
			t.Errorf("the reference %q gives %s", reference, path)
		}
		d := unnamed("x")
		d.InputSources.Add(reference)
		if path, err := b.AddDerivation(t.Context(), d); err == nil {
			t.Errorf("the source %q gives %s", reference, path)
		}
	}
	if b.Len() != 0 {
		t.Errorf("the batch has %d objects", b.Len())
	}
}
