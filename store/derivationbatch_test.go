package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A batchStore is a store that reads many archives at once, until it reaches a bad one.
type batchStore struct {
	store.Store
	bad    storepath.Path
	single []storepath.Path // the archives that were read one by one
}

func (s *batchStore) QueryPathInfos(ctx context.Context, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return func(yield func(*store.PathInfo, error) bool) {
		for _, path := range paths {
			info, err := s.QueryPathInfo(ctx, path)
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

func (s *batchStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	s.single = append(s.single, path)
	return store.ReadNAR(ctx, s.Store, path)
}

func (s *batchStore) NARsFromPaths(ctx context.Context, infos []*store.PathInfo) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		for _, info := range infos {
			if info.Path == s.bad {
				yield(nil, errors.New("a bad archive"))
				return
			}
			archive, err := store.ReadNAR(ctx, s.Store, info.Path)
			if err != nil {
				yield(nil, err)
				return
			}
			goesOn := yield(archive, nil)
			archive.Close()
			if !goesOn {
				return
			}
		}
	}
}

// A loader of a store that reads many archives at once returns the texts of small files. It leaves out a large one, everything
// after an invalid path, and everything from a bad archive on.
func TestDerivationBatch(t *testing.T) {
	s := &batchStore{Store: memstore.New(nil)}
	var paths []storepath.Path
	var texts []string
	for i, size := range []int{10, 0, 100_000, 5000, 20, 30} {
		text := strings.Repeat("x", size)
		path, err := store.AddText(t.Context(), s.Store, fmt.Sprintf("text%d", i), text, nil)
		if err != nil {
			t.Fatal(err)
		}
		paths, texts = append(paths, path), append(texts, text)
	}
	l := store.Derivations(s).(derivation.BatchLoader)
	check := func(what string, paths []storepath.Path, want []string) {
		t.Helper()
		if got := l.LoadDerivations(t.Context(), paths); !slices.Equal(got, want) {
			t.Errorf("%s: got the lengths %d, want %d", what, lengths(got), lengths(want))
		}
	}
	without := func(numbers ...int) []string {
		want := slices.Clone(texts)
		for _, i := range numbers {
			want[i] = ""
		}
		return want
	}
	check("all", paths, without(2))
	invalid := slices.Clone(paths)
	invalid[4] = paths[4][:len(paths[4])-len("text4")] + "text5"
	check("an invalid path", invalid, without(2, 4, 5))
	s.bad = paths[3]
	check("a bad archive", paths, without(2, 3, 4, 5))
	if len(s.single) > 0 {
		t.Errorf("%v were read one by one", s.single)
	}
	if text, err := l.LoadDerivation(t.Context(), paths[2]); text != texts[2] || err != nil {
		t.Errorf("a large text: %d bytes, %v", len(text), err)
	}
	if _, err := l.LoadDerivation(t.Context(), invalid[4]); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an invalid path: %v, want ErrNotFound", err)
	}
	if _, ok := store.Derivations(s.Store).(derivation.BatchLoader); ok {
		t.Error("the loader of a store that reads archives one by one claims to load several at once")
	}
}

func lengths(texts []string) []int {
	n := make([]int, len(texts))
	for i, text := range texts {
		n[i] = len(text)
	}
	return n
}
