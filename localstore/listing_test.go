package localstore

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/fstest"

	"pix/nar"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// The listing is the listing of the archive.
func TestListing(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	files := fstest.MapFS{"a": {Data: []byte("hello\n")}, "b/run": {Data: []byte("#!"), Mode: 0o755}}
	info, err := store.AddFS(t.Context(), s, "source", files, ".", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := s.NARFromPath(t.Context(), info.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	want, err := nar.ReadListing(archive)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Listing(t.Context(), info.Path); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	missing := storepath.Path("/nix/store/00000000000000000000000000000000-missing")
	if _, err := s.Listing(t.Context(), missing); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an invalid path: %v", err)
	}
}

// From each offset, the archive is the rest of the whole one, also from a store that drops the bytes before it.
func TestNARFromOffset(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	memory := memstore.New(nil)
	files := fstest.MapFS{"a": {Data: []byte("hello\n")}, "b/run": {Data: []byte("#!"), Mode: 0o755}}
	info, err := store.AddFS(t.Context(), s, "source", files, ".", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.AddFS(t.Context(), memory, "source", files, ".", nil, nil); err != nil {
		t.Fatal(err)
	}
	archive, err := s.NARFromPath(t.Context(), info.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	whole, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []store.Store{s, memory} {
		for offset := 0; offset <= len(whole); offset += 8 {
			r, err := store.ReadNARFrom(t.Context(), from, info.Path, int64(offset))
			if err != nil {
				t.Fatalf("%T from %d: %v", from, offset, err)
			}
			if rest, err := io.ReadAll(r); err != nil || !bytes.Equal(rest, whole[offset:]) {
				t.Errorf("%T from %d: %d bytes, %v", from, offset, len(rest), err)
			}
			r.Close()
		}
		for _, offset := range []int64{-1, int64(len(whole)) + 1} {
			if _, err := store.ReadNARFrom(t.Context(), from, info.Path, offset); !errors.Is(err, nar.ErrOffset) {
				t.Errorf("%T from %d: %v", from, offset, err)
			}
		}
		if _, err := store.ReadNARFrom(t.Context(), from, "/nix/store/00000000000000000000000000000000-missing", 8); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%T: an invalid path: %v", from, err)
		}
	}
}
