package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A rootedStore is a store with roots that cannot explain why a path is live.
type rootedStore struct {
	*memstore.Store
	roots []store.Root
}

func (s *rootedStore) FindRoots(context.Context) ([]store.Root, error) { return s.roots, nil }
func (s *rootedStore) AddIndirectRoot(context.Context, string) error   { return errors.ErrUnsupported }
func (s *rootedStore) AddPermRoot(context.Context, storepath.Path, string) (string, error) {
	return "", errors.ErrUnsupported
}

func TestRootsOf(t *testing.T) {
	s := &rootedStore{Store: memstore.New(nil)}
	add := func(name string, refs ...storepath.Path) storepath.Path {
		path, err := store.AddText(t.Context(), s, name, name, refs)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	lib := add("lib")
	near, garbage := add("near", lib), add("garbage")
	far := add("far", near)
	also := add("also", lib)
	s.roots = []store.Root{{Link: "/c", Path: garbage}, {Link: "/b", Path: far}, {Link: "/a", Path: also}, {Link: "/d", Path: also}}
	for _, test := range []struct {
		paths []storepath.Path
		want  string
	}{
		{[]storepath.Path{lib}, "/a /b /d"},
		{[]storepath.Path{near}, "/b"},
		{[]storepath.Path{near, garbage}, "/b /c"},
		{[]storepath.Path{far}, "/b"},
	} {
		roots, err := store.RootsOf(t.Context(), s, test.paths...)
		got := ""
		for _, r := range roots {
			got += " " + r.Link
		}
		if err != nil || got != " "+test.want {
			t.Errorf("the roots of %q are%s, %v, want %s", test.paths, got, err, test.want)
		}
	}
	if _, err := store.RootsOf(t.Context(), s, lib, numbered(1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a path that is not valid: %v", err)
	}
	if _, err := store.ExplainLiveness(t.Context(), s, numbered(1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a path that is not valid: %v", err)
	}
	s.roots = s.roots[:2]
	l, err := store.ExplainLiveness(t.Context(), s, lib)
	want := []store.LivenessStep{{Path: far, Needed: store.LiveRoot}, {Path: near, Needed: store.LiveReference}, {Path: lib, Needed: store.LiveReference}}
	if err != nil || l == nil || l.Root.Link != "/b" || !slices.Equal(l.Chain, want) {
		t.Errorf("%s, %v", fmt.Sprint(l), err)
	}
	if l, err := store.ExplainLiveness(t.Context(), s, also); err != nil || l != nil {
		t.Errorf("garbage: %v, %v", l, err)
	}
	_, err = store.RootsOf(t.Context(), store.WithLimits(s, store.Limits{Paths: 3}), lib)
	if e := limitError(t, err); e.Root != lib {
		t.Errorf("%v", err)
	}
}
