package memstore

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pix/store"
	"pix/storepath"
)

func collect(t testing.TB, s *Store, opts store.GCOptions) []string {
	t.Helper()
	result, err := s.CollectGarbage(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return result.Paths
}

// pathNames returns paths as strings, sorted.
func pathNames(paths ...storepath.Path) (names []string) {
	for _, p := range paths {
		names = append(names, string(p))
	}
	slices.Sort(names)
	return names
}

// Permanent, indirect and temporary roots keep paths alive.
func TestRoots(t *testing.T) {
	links := map[string]string{}
	s := New(&Options{ReadLink: func(link string) (string, error) {
		if to, ok := links[link]; ok {
			return to, nil
		}
		return "", errors.New("no such link")
	}})
	a := text(t, s, "a")
	b := text(t, s, "b", a)
	c := text(t, s, "c", b)
	other := text(t, s, "other")
	checkDead := func(when string, dead []string) {
		t.Helper()
		if got := collect(t, s, store.GCOptions{Action: store.GCReturnDead}); !slices.Equal(got, dead) {
			t.Errorf("%s: %q are dead, want %q", when, got, dead)
		}
	}
	checkDead("without roots", pathNames(a, b, c, other))
	if _, err := s.AddPermRoot(t.Context(), b, "/roots/b"); err != nil {
		t.Fatal(err)
	}
	checkDead("with a permanent root", pathNames(c, other))
	links["/home/result"] = string(c) + "/bin"
	if err := s.AddIndirectRoot(t.Context(), "/home/result"); err != nil {
		t.Fatal(err)
	}
	checkDead("with an indirect root", pathNames(other))
	delete(links, "/home/result")
	session := s.newSession()
	if err := session.AddTempRoot(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	checkDead("with a temporary root", pathNames(c))
	roots, err := s.FindRoots(t.Context())
	if err != nil || len(roots) != 2 {
		t.Errorf("FindRoots returned %v, %v, want two roots", roots, err)
	}
	session.Close()
	checkDead("after the session", pathNames(c, other))
	if got := collect(t, s, store.GCOptions{Action: store.GCReturnLive}); !slices.Equal(got, pathNames(a, b)) {
		t.Errorf("%q are live, want %q", got, pathNames(a, b))
	}
}

// A collection deletes dead paths only, up to a size.
func TestCollect(t *testing.T) {
	s := New(nil)
	a := text(t, s, "a")
	b := text(t, s, "b", a)
	dead, other := text(t, s, "dead"), text(t, s, "other")
	if _, err := s.AddPermRoot(t.Context(), b, "/roots/b"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []storepath.Path{a, b} {
		_, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{other, p}})
		if err == nil || !strings.Contains(err.Error(), "since it is still alive") {
			t.Errorf("deleting the live path %s: error %v", p, err)
		}
	}
	for _, test := range []struct {
		maxFreed uint64
		deleted  []string
	}{
		{0, nil},
		{1, pathNames(min(dead, other))},
		{math.MaxUint64, pathNames(max(dead, other))},
	} {
		got := collect(t, s, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: test.maxFreed})
		if !slices.Equal(got, test.deleted) {
			t.Errorf("with MaxFreed %d, %q were deleted, want %q", test.maxFreed, got, test.deleted)
		}
	}
	if valid, _ := s.QueryAllValidPaths(t.Context()); !slices.Equal(valid, []storepath.Path{min(a, b), max(a, b)}) {
		t.Errorf("%q are still valid", valid)
	}
	if _, err := s.CollectGarbage(t.Context(), store.GCOptions{IgnoreLiveness: true}); err == nil {
		t.Error("liveness was ignored")
	}
}

// Referrers are deleted only with DeleteReferrers.
func TestDeleteReferrers(t *testing.T) {
	s := New(nil)
	a := text(t, s, "a")
	b := text(t, s, "b", a)
	opts := store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{a}}
	if _, err := s.CollectGarbage(t.Context(), opts); err == nil {
		t.Error("a path with a referrer was deleted")
	}
	opts.DeleteReferrers = true
	if got := collect(t, s, opts); len(got) != 2 {
		t.Errorf("deleted %q, want both paths", got)
	}
	if s.has(a) || s.has(b) {
		t.Error("the paths are still valid")
	}
}

// A live output keeps its deriver alive.
func TestKeepDerivations(t *testing.T) {
	s := New(nil)
	first, _, _ := derivations(t, s)
	info, archive := newObject(t, "x")
	info.Path, info.Deriver = s.objects[first].drv.outputs["out"], first
	session := s.newSession()
	if err := session.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	if dead := collect(t, s, store.GCOptions{Action: store.GCReturnDead}); slices.Contains(dead, string(first)) {
		t.Error("the deriver of a live output is dead")
	}
}
