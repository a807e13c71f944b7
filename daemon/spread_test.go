package daemon_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pix/daemon"
	"pix/daemontest"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// wide adds a root that refers to n texts, which refer to n others, and returns it.
func wide(t *testing.T, s *memstore.Store, n int) storepath.Path {
	t.Helper()
	var below []storepath.Path
	for _, layer := range []string{"low", "high"} {
		var paths []storepath.Path
		for i := range n {
			var refs []storepath.Path
			if below != nil {
				refs = below[i : i+1]
			}
			path, err := s.AddTextToStore(t.Context(), fmt.Sprintf("%s-%d", layer, i), "x", refs)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		slices.Sort(paths)
		below = paths
	}
	root, err := s.AddTextToStore(t.Context(), "root", "x", below)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// A wide closure comes in the same order on several connections as on one, whatever becomes of
// these.
func TestClosureOnSeveralConnections(t *testing.T) {
	s := memstore.New(nil)
	const n = 3000
	root := wide(t, s, n)
	closure := func(infos func(func(*store.PathInfo, error) bool)) (paths []storepath.Path) {
		t.Helper()
		for info, err := range infos {
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, info.Path)
		}
		return paths
	}
	d := daemontest.New(t, &daemontest.Options{Store: s})
	c, err := daemon.Dial(t.Context(), d.Socket(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := closure(c.QueryClosure(t.Context(), root))
	if len(want) != 2*n+1 {
		t.Fatalf("%d paths", len(want))
	}
	// A connection that breaks has answered more than is under way at once, so that all who use it come on.
	for name, faults := range map[string]daemontest.Faults{"well": {}, "with connections that break": {CutAfter: 500_000}} {
		t.Run(name, func(t *testing.T) {
			d := daemontest.New(t, &daemontest.Options{Store: s, Faults: faults})
			p, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if got := closure(p.QueryClosure(t.Context(), root)); !slices.Equal(got, want) {
				t.Errorf("%d paths, or another order", len(got))
			}
			for range p.QueryClosure(t.Context(), root) {
				break
			}
			for _, err := range p.QueryClosure(t.Context(), root, absent) {
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
}
