package localstore

import (
	"errors"
	"io"
	"strings"
	"testing"

	"pix/store"
)

func TestLogs(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	drv := absent + ".drv"
	if _, err := s.BuildLog(t.Context(), drv); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	for _, log := range []string{"first", "second"} {
		if err := s.AddBuildLog(t.Context(), drv, strings.NewReader(log)); err != nil {
			t.Fatal(err)
		}
		r, err := s.BuildLog(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != "first" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		r.Close()
	}
}

func TestHashPart(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	a, b := info(t, "a"), info(t, "b")
	if err := s.registerValidPaths(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	for _, i := range []*store.PathInfo{a, b} {
		if p, err := s.QueryPathFromHashPart(t.Context(), i.Path.HashPart()); p != i.Path || err != nil {
			t.Errorf("%s, %v", p, err)
		}
	}
	for _, part := range []string{absent.HashPart(), strings.Repeat("z", 32), strings.Repeat("0", 32)} {
		if p, err := s.QueryPathFromHashPart(t.Context(), part); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s, %v", p, err)
		}
	}
	if _, err := s.QueryPathFromHashPart(t.Context(), "short"); err == nil {
		t.Error("a short hash part was accepted")
	}
}
