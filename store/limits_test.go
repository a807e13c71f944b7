package store_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"pix/derivation"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// Each limit is exact, for all functions, and the error names the root.
func TestLimits(t *testing.T) {
	mem := memstore.New(nil)
	paths := chain(t, mem, 10, 0) // 10 paths, and 8*2+1 references
	other := chain(t, mem, 1, 10)
	uses := map[string]func(s store.Store) error{
		"Closure": func(s store.Store) error {
			_, err := closureError(t.Context(), s, other[0], paths[9])
			return err
		},
		"MissingFrom": func(s store.Store) error {
			_, err := store.MissingFrom(t.Context(), memstore.New(nil), s, []storepath.Path{other[0], paths[9]}, false)
			return err
		},
		"Copy": func(s store.Store) error {
			_, err := store.Copy(t.Context(), memstore.New(nil), s, []storepath.Path{other[0], paths[9]}, nil)
			return err
		},
		"PathInfos": func(s store.Store) error {
			_, err := store.PathInfos(t.Context(), s, append(paths, other...))
			return err
		},
		"ExportPaths": func(s store.Store) error {
			return store.ExportPaths(t.Context(), io.Discard, s, append(paths, other...))
		},
	}
	for name, use := range uses {
		for _, good := range []store.Limits{{}, {Paths: 11}, {References: 17}, {Bytes: 32_000}} {
			if err := use(store.WithLimits(mem, good)); err != nil {
				t.Errorf("%s, %+v: %v", name, good, err)
			}
		}
		for _, bad := range []store.Limits{{Paths: 10}, {References: 16}, {Bytes: 8_000}} {
			err := use(store.WithLimits(mem, bad))
			limit := limitError(t, err)
			if wrongRoot := limit.Root != paths[9] && (name == "Closure" || name == "Copy"); wrongRoot || limit.Max != int64(max(bad.Paths, bad.References))+bad.Bytes || !strings.Contains(err.Error(), fmt.Sprint(limit.Max, " ", limit.Limit)) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Only the store that returns limits for itself has its own limits: neither a store that embeds
// it, nor a wrapper.
func TestLimitsOf(t *testing.T) {
	mem := memstore.New(nil)
	session, err := mem.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own, foreign := derivation.OwnLimits(), derivation.ForeignLimits()
	if own.Paths != 1<<22 || own.References != 1<<26 || foreign.Paths != 1<<20 || foreign.Bytes != 256<<20 {
		t.Errorf("%+v, %+v", own, foreign)
	}
	for name, test := range map[string]struct {
		s    store.Store
		want store.Limits
	}{
		"own":      {mem, own},
		"session":  {session, own},
		"embedded": {struct{ *memstore.Store }{mem}, foreign},
		"not comparable": {struct {
			*memstore.Store
			list []int
		}{mem, nil}, foreign},
		"wrapper": {&distant{Store: mem}, foreign},
		"other":   {struct{ store.Store }{mem}, foreign},
		"changed": {store.WithLimits(mem, store.Limits{Paths: 3}), store.Limits{Paths: 3}},
	} {
		if got := store.LimitsOf(test.s); got != test.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if _, ok := store.As[store.MissingQuerier](store.WithLimits(mem, own)); !ok {
		t.Error("a store with limits has lost its capabilities")
	}
}
