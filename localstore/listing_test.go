package localstore

import (
	"errors"
	"reflect"
	"testing"
	"testing/fstest"

	"pix/nar"
	"pix/store"
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
