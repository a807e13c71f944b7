package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

const absent = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent")

// A distant store takes a millisecond for each answer, and counts concurrent queries.
type distant struct {
	store.Store
	mu         sync.Mutex
	busy, most int
	damaged    storepath.Path // the path whose archive cannot be read
}

func (d *distant) Unwrap() store.Store { return d.Store }

func (d *distant) wait() {
	d.mu.Lock()
	d.busy++
	d.most = max(d.most, d.busy)
	d.mu.Unlock()
	time.Sleep(time.Millisecond)
	d.mu.Lock()
	d.busy--
	d.mu.Unlock()
}

func (d *distant) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	d.wait()
	return d.Store.QueryPathInfo(ctx, path)
}

var errDamaged = errors.New("damaged")

func (d *distant) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	d.wait()
	if path == d.damaged {
		return nil, errDamaged
	}
	return store.ReadNAR(ctx, d.Store, path)
}

// A simple store adds objects one by one, and has no other capability.
type simple struct{ *memstore.Store }

func (s simple) AddMultipleToStore() {} // hides the method of the embedded store
func (s simple) AddToStoreNAR(ctx context.Context, info *store.PathInfo, nar io.Reader, opts *store.AddOptions) error {
	return s.Store.AddToStoreNAR(ctx, info, nar, opts)
}

// chain adds n texts, and returns them in order. Each refers to the previous one and to the
// first.
func chain(t testing.TB, s *memstore.Store, n, size int) []storepath.Path {
	t.Helper()
	var paths []storepath.Path
	for i := range n {
		var refs []storepath.Path
		if i > 0 {
			refs = []storepath.Path{paths[0], paths[i-1]}
		}
		path, err := s.AddTextToStore(t.Context(), fmt.Sprintf("text-%d", i), strings.Repeat("x", size)+fmt.Sprint(refs), refs)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestClosure(t *testing.T) {
	s := memstore.New(nil)
	paths := chain(t, s, 20, 0)
	var got []storepath.Path
	for info, err := range store.Closure(t.Context(), s, paths[19], paths[19], paths[5]) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.QueryPathInfo(t.Context(), info.Path); err != nil { // a loop may use the store
			t.Error(err)
		}
		got = append(got, info.Path)
	}
	if len(got) != 20 || got[0] != paths[19] || got[1] != paths[5] {
		t.Errorf("%q", got)
	}
	for _, err := range store.Closure(t.Context(), s, paths[3], absent) {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	for range store.Closure(t.Context(), s) {
		t.Error("the closure of no roots is not empty")
	}
	n := 0
	for range store.Closure(t.Context(), s, paths[19]) {
		if n++; n == 2 {
			break
		}
	}
}

// A closure takes as many round trips as it has distances.
func TestClosureOverLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		var leaves []storepath.Path
		for i := range 200 {
			leaf, err := s.AddTextToStore(t.Context(), fmt.Sprint(i), "x", nil)
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, leaf)
		}
		root, err := s.AddTextToStore(t.Context(), "root", "x", leaves)
		if err != nil {
			t.Fatal(err)
		}
		d := &distant{Store: s}
		start, n := time.Now(), 0
		for _, err := range store.Closure(t.Context(), d, root) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 201 || time.Since(start) != 2*time.Millisecond {
			t.Errorf("%d paths took %v", n, time.Since(start))
		}
	})
}

func TestSortByReferences(t *testing.T) {
	a := &store.PathInfo{Path: "a", References: []storepath.Path{"a", "elsewhere"}}
	b := &store.PathInfo{Path: "b", References: []storepath.Path{"a"}}
	c := &store.PathInfo{Path: "c", References: []storepath.Path{"a", "b"}}
	got, err := store.SortByReferences([]*store.PathInfo{c, b, a})
	if err != nil || !slices.Equal(got, []*store.PathInfo{a, b, c}) {
		t.Errorf("%v, %v", got, err)
	}
	a.References = append(a.References, "c")
	var cycle *store.ReferenceCycleError
	if _, err := store.SortByReferences([]*store.PathInfo{a, b, c}); !errors.As(err, &cycle) {
		t.Errorf("%v", err)
	}
}

func TestCopy(t *testing.T) {
	src := memstore.New(nil)
	paths := chain(t, src, 30, 1000)
	big := chain(t, src, 2, 2<<20) // larger than the archives that are read ahead
	for _, sig := range []string{"a-1:" + strings.Repeat("A", 86) + "=="} {
		if err := src.AddSignatures(t.Context(), paths[29], []string{sig}); err != nil {
			t.Fatal(err)
		}
	}
	memory := memstore.New(nil)
	for name, dst := range map[string]store.Store{"at once": memstore.New(nil), "one by one": simple{memory}} {
		t.Run(name, func(t *testing.T) {
			if _, err := store.Copy(t.Context(), dst, src, paths[:10], nil); err != nil {
				t.Fatal(err)
			}
			var progress []*store.PathInfo
			added, err := store.Copy(t.Context(), dst, src, []storepath.Path{paths[29], big[1]}, &store.CopyOptions{
				Progress: func(info *store.PathInfo) { progress = append(progress, info) },
			})
			if err != nil || len(added) != 22 || !slices.Equal(progress, added) {
				t.Errorf("%d objects were added, %d reported, %v", len(added), len(progress), err)
			}
			valid, err := dst.QueryValidPaths(t.Context(), slices.Concat(paths, big), false)
			if err != nil || len(valid) != 32 {
				t.Errorf("%d are valid, %v", len(valid), err)
			}
			info, err := dst.QueryPathInfo(t.Context(), paths[29])
			if err != nil || len(info.Signatures) != 1 {
				t.Errorf("%+v, %v", info, err)
			}
			if added, err = store.Copy(t.Context(), dst, src, paths, nil); err != nil || len(added) != 0 {
				t.Errorf("%v were copied again, %v", added, err)
			}
		})
	}
}

// Many small archives are read at a time. A failure of one ends the copy, and nothing keeps
// running.
func TestCopyOverLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		paths := chain(t, s, 100, 10)
		src := &distant{Store: s}
		start := time.Now()
		if _, err := store.Copy(t.Context(), memstore.New(nil), src, paths, nil); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("the copy took %v", took)
		}
		src.damaged = paths[50]
		dst := memstore.New(nil)
		_, err := store.Copy(t.Context(), dst, src, paths, nil)
		if !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), string(paths[50])) {
			t.Errorf("%v", err)
		}
		if valid, _ := dst.QueryAllValidPaths(t.Context()); len(valid) != 50 {
			t.Errorf("%d were added before the error", len(valid))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Millisecond, cancel)
		if _, err := store.Copy(ctx, memstore.New(nil), src, paths, nil); err == nil {
			t.Error("a cancelled copy has succeeded")
		}
	})
}

func TestCopyBetweenDirectories(t *testing.T) {
	s := memstore.New(nil)
	_, err := store.Copy(t.Context(), memstore.New(&memstore.Options{Dir: "/gnu/store"}), s, nil, nil)
	if err == nil {
		t.Error("the copy succeeded")
	}
}

// A copy with a store that lacks a capability is an UnsupportedError.
func TestCopyUnsupported(t *testing.T) {
	s := memstore.New(nil)
	paths := chain(t, s, 1, 0)
	bare := struct{ store.Store }{memstore.New(nil)}
	if _, err := store.Copy(t.Context(), bare, s, paths, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if _, err := store.Copy(t.Context(), memstore.New(nil), struct{ store.Store }{s}, paths, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if err := store.AddNAR(t.Context(), bare, nil, new(bytes.Buffer), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// Copy a text and its references from one store to another.
func ExampleCopy() {
	ctx := context.Background()
	src, dst := memstore.New(nil), memstore.New(nil)
	dep, err := src.AddTextToStore(ctx, "dep", "a text", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	root, err := src.AddTextToStore(ctx, "root", "see "+string(dep), []storepath.Path{dep})
	if err != nil {
		fmt.Println(err)
		return
	}
	added, err := store.Copy(ctx, dst, src, []storepath.Path{root}, nil)
	for _, info := range added {
		fmt.Println(info.Path.Name())
	}
	fmt.Println(err)
	// Output:
	// dep
	// root
	// <nil>
}

// A recorder records events.
type recorder struct {
	busy   atomic.Int32
	events []activity.Event
	t      *testing.T
}

func (r *recorder) HandleEvent(e activity.Event) {
	if r.busy.Add(1) != 1 {
		r.t.Error("two goroutines call the handler at the same time")
	}
	r.events = append(r.events, e)
	r.busy.Add(-1)
}

func TestCopyReports(t *testing.T) {
	src, dst := memstore.New(nil), memstore.New(nil)
	small, err := src.AddTextToStore(t.Context(), "small", "abc", nil)
	if err != nil {
		t.Fatal(err)
	}
	large, err := src.AddTextToStore(t.Context(), "large", strings.Repeat("x", 200<<10), []storepath.Path{small})
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{t: t}
	if _, err := store.Copy(activity.WithHandler(t.Context(), r), dst, src, []storepath.Path{large}, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	names := make(map[activity.ID]string)
	for _, e := range r.events {
		switch e := e.(type) {
		case activity.Start:
			names[e.ID] = strings.TrimPrefix(e.Text, "copying ")
			if e.Type == activity.CopyPath {
				path, _ := e.Fields[0].Text()
				names[e.ID] = storepath.Path(path).Name()
				if names[e.Parent] != "2 paths" {
					t.Errorf("the parent of %q is %q", e.Text, names[e.Parent])
				}
			}
			got = append(got, "start "+names[e.ID])
		case activity.Result:
			got = append(got, fmt.Sprint(names[e.ID], " ", e.Type, e.Fields))
		case activity.Stop:
			got = append(got, "stop "+names[e.ID])
		}
	}
	want := []string{
		"start 2 paths",
		"2 paths set-expected [100 205032]",
		"2 paths progress [0 2 0 0]",
		"start small", "2 paths progress [0 2 1 0]", "small progress [120 120 0 0]", "stop small", "2 paths progress [1 2 0 0]",
		"start large", "2 paths progress [1 2 1 0]", "large progress [204912 204912 0 0]", "stop large", "2 paths progress [2 2 0 0]",
		"stop 2 paths",
	}
	if got := slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "large progress") && !strings.Contains(s, "[204912 ") }); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
