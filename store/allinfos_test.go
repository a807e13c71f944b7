package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A forgetfulStore lists a path that is not valid.
type forgetfulStore struct {
	store.Store
	listed []storepath.Path
}

func (s *forgetfulStore) QueryAllValidPaths(context.Context) ([]storepath.Path, error) {
	return s.listed, nil
}

func TestAllPathInfos(t *testing.T) {
	s := memstore.New(nil)
	var want []storepath.Path
	for _, name := range []string{"a", "b", "c"} {
		path, err := store.AddText(t.Context(), s, name, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, path)
	}
	slices.Sort(want)
	for _, from := range []store.Store{s, &forgetfulStore{s, append([]storepath.Path{numbered(1)}, want...)}} {
		var got []storepath.Path
		for info, err := range store.AllPathInfos(t.Context(), from) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("infos of %q, want %q", got, want)
		}
	}
	for info, err := range store.AllPathInfos(t.Context(), struct{ store.Store }{s}) {
		if info != nil || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a store that cannot list its paths: %v, %v", info, err)
		}
	}
}
