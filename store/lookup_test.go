package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A lookupStore has n paths, and counts the infos that it has returned.
type lookupStore struct {
	store.Store
	valid    []storepath.Path
	returned int
	failing  storepath.Path
}

func (s *lookupStore) Dir() storepath.Dir { return storepath.DefaultDir }

func (s *lookupStore) QueryValidPaths(_ context.Context, paths []storepath.Path, _ bool) (valid []storepath.Path, _ error) {
	for _, p := range paths {
		if _, ok := slices.BinarySearch(s.valid, p); ok {
			valid = append(valid, p)
		}
	}
	return valid, nil
}

var errLookup = errors.New("the store fails")

func (s *lookupStore) QueryPathInfo(_ context.Context, path storepath.Path) (*store.PathInfo, error) {
	if path == s.failing {
		return nil, errLookup
	}
	if _, ok := slices.BinarySearch(s.valid, path); !ok {
		return nil, &store.NotFoundError{Path: path}
	}
	return &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, nil)}, nil
}

// QueryPathInfos implements [store.InfosQuerier].
func (s *lookupStore) QueryPathInfos(ctx context.Context, paths []storepath.Path) func(func(*store.PathInfo, error) bool) {
	return func(yield func(*store.PathInfo, error) bool) {
		for _, p := range paths {
			info, err := s.QueryPathInfo(ctx, p)
			s.returned++
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

func numberedPath(i int) storepath.Path {
	return storepath.Path(fmt.Sprintf("/nix/store/%032d-x", i))
}

// LookUp yields nil for paths that are not valid, and asks for some paths ahead only.
func TestLookUp(t *testing.T) {
	const n = 20_000
	s := new(lookupStore)
	var paths []storepath.Path
	for i := range n {
		paths = append(paths, numberedPath(i))
		if i%10_000 != 7 {
			s.valid = append(s.valid, numberedPath(i))
		}
	}
	paths = append(paths, paths[0]) // a path may come twice, in any order
	i := 0
	for info, err := range store.LookUp(t.Context(), s, paths) {
		if err != nil {
			t.Fatal(err)
		}
		valid := i%10_000 != 7
		if valid && (info == nil || info.Path != paths[i]) || !valid && info != nil {
			t.Fatalf("the info of %s is %v", paths[i], info)
		}
		if i == 0 && s.returned > n/2 {
			t.Errorf("the store was queried for %d infos before the first was returned", s.returned)
		}
		i++
	}
	if i != len(paths) {
		t.Errorf("%d infos", i)
	}
	s.failing = paths[n-1]
	i = 0
	var err error
	for _, err = range store.LookUp(t.Context(), s, paths) {
		i++
	}
	if !errors.Is(err, errLookup) || i < n/2 {
		t.Errorf("%v after %d infos, want the error of the store after the infos of earlier paths", err, i)
	}
}

// A PathInfoWriter writes the same text as MarshalAll, piece by piece.
func TestPathInfoWriter(t *testing.T) {
	infos := make(map[storepath.Path]*store.PathInfo)
	for version := 1; version <= 3; version++ {
		form := store.PathInfoJSON{Version: version}
		var pieces []string
		w := form.NewWriter(writerFunc(func(p []byte) (int, error) {
			pieces = append(pieces, string(p))
			return len(p), nil
		}), storepath.DefaultDir, "")
		for i := range 1000 {
			info := jsonInfo(t)
			info.Path = numberedPath(i)
			if i%100 == 50 {
				info = nil
			}
			infos[numberedPath(i)] = info
			if err := w.Write(numberedPath(i), info); err != nil {
				t.Fatal(err)
			}
		}
		if len(pieces) < 2 {
			t.Errorf("version %d: %d pieces before the end", version, len(pieces))
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		want, err := form.MarshalAll(storepath.DefaultDir, infos)
		if err != nil || strings.Join(pieces, "") != string(want) {
			t.Errorf("version %d: the texts differ, %v", version, err)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// After an error a PathInfoWriter writes nothing more.
func TestPathInfoWriterFails(t *testing.T) {
	info := jsonInfo(t)
	form := store.PathInfoJSON{Version: 1}
	full := errors.New("the disk is full")
	for what, write := range map[string]func(w *store.PathInfoWriter) error{
		"an unsorted path": func(w *store.PathInfoWriter) error {
			w.Write(numberedPath(2), nil)
			return w.Write(numberedPath(1), nil)
		},
		"a duplicate": func(w *store.PathInfoWriter) error {
			w.Write(numberedPath(1), nil)
			return w.Write(numberedPath(1), nil)
		},
		"the info of another": func(w *store.PathInfoWriter) error { return w.Write(numberedPath(1), info) },
		"a foreign path":      func(w *store.PathInfoWriter) error { return w.Write("/gnu/store/x", nil) },
		"a member of an unknown type": func(w *store.PathInfoWriter) error {
			return w.Write(info.Path, info, store.JSONMember{Key: "size", Value: 1.5})
		},
	} {
		written := 0
		w := form.NewWriter(writerFunc(func(p []byte) (int, error) {
			written += len(p)
			return len(p), nil
		}), storepath.DefaultDir, "")
		err := write(w)
		if _, ok := errors.AsType[*store.PathInfoJSONError](err); !ok {
			t.Errorf("%s: %v", what, err)
		}
		if again := w.Close(); again != err || written > 0 {
			t.Errorf("%s: Close returns %v after %d bytes", what, again, written)
		}
	}
	w := form.NewWriter(writerFunc(func([]byte) (int, error) { return 0, full }), storepath.DefaultDir, "")
	if err := w.Close(); err != full {
		t.Errorf("Close returns %v, want the error of the writer", err)
	}
}
