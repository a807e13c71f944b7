package closure

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"

	"pix/store"
	"pix/storepath"
)

// A wholeStore is a store that can read all its infos at once.
type wholeStore struct {
	store.Store // nil; only the methods below are called
	infos       []*store.PathInfo
	byPath      map[storepath.Path]*store.PathInfo
	limits      store.Limits
	lost        int   // number of infos at the end that a query for all infos misses
	err         error // of a query for all infos
	scans       int
}

func newWholeStore(infos []*store.PathInfo) *wholeStore {
	s := &wholeStore{infos: infos, byPath: make(map[storepath.Path]*store.PathInfo), limits: store.Limits{Paths: 1 << 22}}
	for _, info := range infos {
		s.byPath[info.Path] = info
	}
	return s
}

func (s *wholeStore) Dir() storepath.Dir                           { return storepath.DefaultDir }
func (s *wholeStore) ClosureLimits() (store.Limits, store.Store)   { return s.limits, s }
func (s *wholeStore) CountValidPaths(context.Context) (int, error) { return len(s.infos), nil }

func (s *wholeStore) QueryPathInfos(_ context.Context, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return func(yield func(*store.PathInfo, error) bool) {
		for _, path := range paths {
			info, ok := s.byPath[path]
			if !ok {
				yield(nil, &store.NotFoundError{Path: path})
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (s *wholeStore) QueryAllValidPaths(context.Context) (paths []storepath.Path, err error) {
	for _, info := range s.infos {
		paths = append(paths, info.Path)
	}
	return paths, nil
}

func (s *wholeStore) QueryAllPathInfos(context.Context) iter.Seq2[*store.PathInfo, error] {
	s.scans++
	return func(yield func(*store.PathInfo, error) bool) {
		if s.err != nil {
			yield(nil, s.err)
			return
		}
		for _, info := range s.infos[:len(s.infos)-s.lost] {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// fanInfos returns n infos. Each of the first refers to the next eight hundred or so infos, so a walk has few levels.
func fanInfos(tb testing.TB, n int) []*store.PathInfo {
	tb.Helper()
	const fan = 800
	var infos []*store.PathInfo
	for i := range n {
		infos = append(infos, &store.PathInfo{Path: numbered(tb, i), NARSize: uint64(i)})
	}
	for i := 1; i < n; i++ {
		referrer := infos[(i-1)/fan]
		referrer.References = append(referrer.References, infos[i].Path)
	}
	return infos
}

// load reads all infos only if the closure is a large part of the store.
func TestLoadLarge(t *testing.T) {
	infos := fanInfos(t, 4000)
	for _, test := range []struct {
		name  string
		root  int
		size  int
		scans int
		setUp func(*wholeStore)
	}{
		{"small closure", 3, 801, 0, nil},
		{"large closure", 0, 4000, 1, nil},
		{"large store", 0, 4000, 0, func(s *wholeStore) { s.infos = make([]*store.PathInfo, 40_000) }},
		{"a path is added meanwhile", 0, 4000, 1, func(s *wholeStore) { s.lost = 1 }},
		{"limit of bytes", 0, 4000, 0, func(s *wholeStore) { s.limits.Bytes = 1 << 40 }},
		{"store larger than the limit", 0, 4000, 1, func(s *wholeStore) {
			s.limits.Paths = 4000
			s.infos = append(slices.Clone(s.infos), &store.PathInfo{Path: numbered(t, 5000)})
		}},
	} {
		s := newWholeStore(infos)
		if test.setUp != nil {
			test.setUp(s)
		}
		c, err := load(t.Context(), s, []storepath.Path{infos[test.root].Path}, 1000)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if c.Len() != test.size || s.scans != test.scans {
			t.Errorf("%s: %d paths after %d scans, want %d after %d", test.name, c.Len(), s.scans, test.size, test.scans)
		}
	}
}

func TestLoadLargeErrors(t *testing.T) {
	s := newWholeStore(fanInfos(t, 4000))
	s.err = errors.New("damaged")
	if _, err := load(t.Context(), s, []storepath.Path{s.infos[0].Path}, 1000); err != s.err {
		t.Errorf("load returned %v", err)
	}
	s.err, s.limits.Paths = nil, 3900
	if _, err := load(t.Context(), s, []storepath.Path{s.infos[0].Path}, 1000); !errors.As(err, new(*store.LimitError)) {
		t.Errorf("load returned %v", err)
	}
	if _, err := LoadAll(t.Context(), s); !errors.As(err, new(*store.LimitError)) {
		t.Errorf("LoadAll returned %v", err)
	}
}

func TestLoadAll(t *testing.T) {
	for _, lost := range []int{0, 1} { // then LoadAll walks
		s := newWholeStore(fanInfos(t, 2000))
		s.lost = lost
		c, err := LoadAll(t.Context(), s)
		if err != nil || c.Len() != 2000 || s.scans != 1 {
			t.Errorf("%d paths after %d scans, %v", c.Len(), s.scans, err)
		}
	}
}
