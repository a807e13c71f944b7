package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A spoiltStore is a store whose infos and archives a test can replace.
type spoiltStore struct {
	*memstore.Store
	infos    map[storepath.Path]*store.PathInfo
	archives map[storepath.Path]string
	err      error // of QueryPathInfo
}

func (s *spoiltStore) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if s.err != nil {
		return nil, s.err
	}
	if info := s.infos[path]; info != nil {
		return info, nil
	}
	return s.Store.QueryPathInfo(ctx, path)
}

func (s *spoiltStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if archive, ok := s.archives[path]; ok {
		return io.NopCloser(strings.NewReader(archive)), nil
	}
	return s.Store.NARFromPath(ctx, path)
}

// newSpoiltStore returns a store with texts of these names.
func newSpoiltStore(t *testing.T, names ...string) (*spoiltStore, []storepath.Path) {
	t.Helper()
	s := &spoiltStore{Store: memstore.New(nil), infos: map[storepath.Path]*store.PathInfo{}, archives: map[storepath.Path]string{}}
	var paths []storepath.Path
	for _, name := range names {
		path, err := store.AddText(t.Context(), s.Store, name, "the text "+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return s, paths
}

// change changes the info of a path.
func (s *spoiltStore) change(t *testing.T, path storepath.Path, change func(*store.PathInfo)) {
	t.Helper()
	info, err := s.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	changed := *info
	change(&changed)
	s.infos[path] = &changed
}

// verdicts returns the verdicts of VerifyPaths as texts, in the order in which they were reported.
func verdicts(t *testing.T, s store.Store, paths []storepath.Path, opts *store.VerifyOptions) []string {
	t.Helper()
	var all []string
	err := store.VerifyPaths(t.Context(), s, paths, opts, func(v *store.PathVerdict) {
		text := v.Path.Name()
		if v.Modified != nil {
			text += fmt.Sprintf(" modified(%T)", v.Modified)
		}
		if v.Untrusted {
			text += " untrusted"
		}
		if v.Err != nil {
			text += fmt.Sprintf(" error(%T)", v.Err)
		}
		if len(v.Unanswered) > 0 {
			text += fmt.Sprintf(" unanswered(%d)", len(v.Unanswered))
		}
		all = append(all, text)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func fileArchive(t *testing.T, contents string) string {
	t.Helper()
	var b bytes.Buffer
	if err := nar.WriteFile(&b, strings.NewReader(contents), uint64(len(contents))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Contents are compared with the hash of the archive and with the content address. A source can send an info whose archive
// hash is the one of other contents, with the content address that the path follows from.
func TestVerifyContents(t *testing.T) {
	s, paths := newSpoiltStore(t, "good", "other", "lying", "broken", "absent")
	s.archives[paths[1]] = fileArchive(t, "other contents")
	lie := fileArchive(t, "lies")
	s.archives[paths[2]] = lie
	s.change(t, paths[2], func(info *store.PathInfo) {
		info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, []byte(lie)), uint64(len(lie))
	})
	s.archives[paths[3]] = lie[:40]
	s.change(t, paths[3], func(info *store.PathInfo) { info.NARHash = nixhash.Sum(nixhash.SHA256, []byte(lie[:40])) })
	paths[4] = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent"
	want := []string{
		"good", "other modified(*store.ModifiedError)", "lying modified(*store.MismatchError)", "broken modified(*store.MismatchError)",
		"absent error(*store.NotFoundError)",
	}
	if got := verdicts(t, s, paths, nil); !slices.Equal(got, want) {
		t.Errorf("verdicts %q, want %q", got, want)
	}
	want = []string{"good", "other", "lying", "broken", "absent error(*store.NotFoundError)"}
	if got := verdicts(t, s, paths, &store.VerifyOptions{NoContents: true}); !slices.Equal(got, want) {
		t.Errorf("without contents: verdicts %q, want %q", got, want)
	}
}

// A path without a content address needs signatures by different keys, from the store or from others.
func TestVerifyTrust(t *testing.T) {
	s, paths := newSpoiltStore(t, "unsigned", "once", "twice", "same", "built", "weird")
	one, two := mustKey(t, "one"), mustKey(t, "two")
	for i, path := range paths {
		s.change(t, path, func(info *store.PathInfo) {
			info.CA = storepath.ContentAddress{}
			keys := [][]signature.SecretKey{nil, {one}, {one, two}, {one}, nil, {one}}[i]
			if err := info.Sign(keys...); err != nil {
				t.Fatal(err)
			}
			info.Ultimate = i == 4
		})
	}
	s.infos[paths[3]].Signatures = append(s.infos[paths[3]].Signatures, s.infos[paths[3]].Signatures...)
	s.infos[paths[5]].Signatures = append([]string{"one:no base 64", "none"}, s.infos[paths[5]].Signatures...)
	trusted := signature.NewKeySet(one.Public(), two.Public())
	want := []string{"unsigned untrusted", "once", "twice", "same", "built", "weird"}
	if got := verdicts(t, s, paths, &store.VerifyOptions{TrustedKeys: trusted}); !slices.Equal(got, want) {
		t.Errorf("verdicts %q, want %q", got, want)
	}
	needTwo := &store.VerifyOptions{TrustedKeys: trusted, SignaturesNeeded: 2}
	want = []string{"unsigned untrusted", "once untrusted", "twice", "same untrusted", "built untrusted", "weird untrusted"}
	if got := verdicts(t, s, paths, needTwo); !slices.Equal(got, want) {
		t.Errorf("two signatures: verdicts %q, want %q", got, want)
	}

	other, _ := newSpoiltStore(t)
	for _, path := range paths[:2] {
		info := *s.infos[path]
		info.Signatures = nil
		if err := info.Sign(two); err != nil {
			t.Fatal(err)
		}
		other.infos[path] = &info
	}
	down := &spoiltStore{err: errors.New("it is down")}
	needTwo.SignaturesFrom = []store.Store{down, other}
	want = []string{
		"unsigned untrusted unanswered(1)", "once unanswered(1)", "twice", "same untrusted unanswered(1)", "built untrusted unanswered(1)",
		"weird untrusted unanswered(1)",
	}
	if got := verdicts(t, s, paths, needTwo); !slices.Equal(got, want) {
		t.Errorf("signatures of another store: verdicts %q, want %q", got, want)
	}
}

// A cancelled call returns the error of the context, and a panic of the caller's code reaches the caller.
func TestVerifyEnds(t *testing.T) {
	s, paths := newSpoiltStore(t, "a", "b", "c")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.VerifyPaths(ctx, s, paths, nil, func(*store.PathVerdict) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("the error of a cancelled call is %v", err)
	}
	defer func() {
		if p := recover(); p == nil {
			t.Error("the panic did not reach the caller")
		}
	}()
	store.VerifyPaths(t.Context(), s, paths, nil, func(*store.PathVerdict) { panic("report") })
}

func mustKey(t *testing.T, name string) signature.SecretKey {
	t.Helper()
	key, err := signature.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
