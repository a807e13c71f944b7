package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/testenv"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A faulty store calls a function at one place.
type faulty struct {
	*memstore.Store
	fault func(where string)
}

func (f *faulty) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	f.fault("QueryPathInfo")
	return f.Store.QueryPathInfo(ctx, path)
}

func (f *faulty) QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error) {
	f.fault("QueryValidPaths")
	return f.Store.QueryValidPaths(ctx, paths, substitute)
}

func (f *faulty) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	f.fault("NARFromPath")
	archive, err := f.Store.NARFromPath(ctx, path)
	return &faultyArchive{archive, f}, err
}

func (f *faulty) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	f.fault("AddMultipleToStore")
	for object, err := range objects {
		if err != nil {
			return err
		}
		f.fault("object")
		if _, err := io.Copy(io.Discard, object.NAR); err != nil {
			return err
		}
	}
	f.fault("end of objects")
	return nil
}

type faultyArchive struct {
	io.ReadCloser
	f *faulty
}

func (a *faultyArchive) Read(p []byte) (int, error) {
	a.f.fault("Read")
	return a.ReadCloser.Read(p)
}

func (a *faultyArchive) Close() error {
	a.f.fault("Close")
	return a.ReadCloser.Close()
}

// A manyFaulty store returns many infos and archives at a time.
type manyFaulty struct{ *faulty }

func (f *manyFaulty) QueryPathInfos(ctx context.Context, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return func(yield func(*store.PathInfo, error) bool) {
		for _, path := range paths {
			f.fault("QueryPathInfos")
			if info, err := f.Store.QueryPathInfo(ctx, path); !yield(info, err) {
				return
			}
		}
	}
}

func (f *manyFaulty) NARsFromPaths(ctx context.Context, infos []*store.PathInfo) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		for _, info := range infos {
			f.fault("NARsFromPaths")
			archive, err := f.NARFromPath(ctx, info.Path)
			if err != nil || !yield(archive, nil) {
				return
			}
		}
	}
}

// An asynchronous store adds objects on another goroutine, like a client that answers the
// requests of a daemon, and keeps their archives.
type asynchronous struct{ *faulty }

func (s asynchronous) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	done := make(chan error, 1)
	go func() {
		var reading sync.WaitGroup
		defer reading.Wait()
		var err error
		defer func() { done <- err }()
		var object store.Import
		for object, err = range objects {
			if err != nil {
				return
			}
			read := store.ReadKept(ctx, object.NAR.(store.Keepable), func(archive io.Reader) error {
				_, err := io.Copy(io.Discard, archive)
				return err
			})
			reading.Go(func() { read() })
		}
	}()
	select {
	case err := <-done:
		s.fault("object")
		return err
	case <-ctx.Done(): // the goroutine continues
		return ctx.Err()
	}
}

// A panic or runtime.Goexit anywhere in a copy reaches the caller, and leaves nothing behind.
func TestCopyPanics(t *testing.T) {
	mem := memstore.New(nil)
	roots := append(chain(t, mem, 40, 100), chain(t, mem, 4, 1<<20)...) // the latter are only opened ahead
	type kind struct {
		name     string
		src, dst func(*faulty) store.Store
		wheres   []string
	}
	plain := func(f *faulty) store.Store { return f }
	async := func(f *faulty) store.Store { return asynchronous{f} }
	for _, k := range []kind{
		{"source", plain, plain, []string{"QueryPathInfo", "NARFromPath", "Read", "Close"}},
		{"source of many", func(f *faulty) store.Store { return &manyFaulty{f} }, plain, []string{"QueryPathInfos", "NARsFromPaths", "Read", "Close"}},
		{"source for another goroutine", plain, async, []string{"NARFromPath", "Read", "Close"}},
		{"destination", plain, plain, []string{"QueryValidPaths", "AddMultipleToStore", "object", "end of objects"}},
		{"asynchronous destination", plain, async, []string{"object"}},
		{"progress", plain, plain, []string{"progress"}},
		{"progress on another goroutine", plain, async, []string{"progress"}},
		{"handler", plain, plain, []string{"handler"}},
		{"handler on another goroutine", plain, async, []string{"handler"}},
	} {
		for _, where := range k.wheres {
			for _, goexit := range []bool{false, true} {
				for _, at := range []int64{1, 20} {
					t.Run(fmt.Sprintf("%s/%s %d, goexit %t", k.name, where, at, goexit), func(t *testing.T) {
						testenv.NoLeak(t)
						var n atomic.Int64
						happened := atomic.Bool{}
						fault := func(at string) func(string) {
							return func(where string) {
								if where != at || n.Add(-1) != 0 {
									return
								}
								happened.Store(true)
								testenv.Fault(goexit)
							}
						}
						n.Store(at)
						on := fault(where)
						never := func(string) {}
						src, dst := &faulty{mem, never}, &faulty{memstore.New(nil), never}
						if strings.Contains(k.name, "source") {
							src.fault = on
						} else {
							dst.fault = on
						}
						var after atomic.Bool
						check := func(where string) {
							if after.Load() {
								t.Errorf("%s is called after the copy", where)
							}
							on(where)
						}
						ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(activity.Event) { check("handler") }))
						how := testenv.Outcome(t, func() {
							store.Copy(ctx, k.dst(dst), k.src(src), roots, &store.CopyOptions{Progress: func(*store.PathInfo) { check("progress") }})
						})
						after.Store(true)
						if !happened.Load() {
							if how != "returned" || at == 1 {
								t.Errorf("without a fault: %v", how)
							}
							return
						}
						if err, _ := how.(error); goexit && how != "exited" || !goexit && !errors.Is(err, testenv.ErrPanic) {
							t.Errorf("the call ended with %v", how)
						}
					})
				}
			}
		}
	}
}

// A destination that does not finish the sequence, such as one that pulls from it and panics,
// does not keep the copy from ending.
func TestCopyToPuller(t *testing.T) {
	mem := memstore.New(nil)
	roots := chain(t, mem, 10, 100)
	var next func() (store.Import, error, bool)
	var stop func()
	var progress atomic.Int64
	dst := &puller{memstore.New(nil), func(objects iter.Seq2[store.Import, error]) {
		next, stop = iter.Pull2(objects)
		next()
		panic(testenv.ErrPanic)
	}}
	how := testenv.Outcome(t, func() {
		store.Copy(t.Context(), dst, mem, roots, &store.CopyOptions{Progress: func(*store.PathInfo) { progress.Add(1) }})
	})
	if how != testenv.ErrPanic {
		t.Errorf("the call ended with %v", how)
	}
	if _, err, ok := next(); err == nil || !ok || progress.Load() != 1 {
		t.Errorf("after the copy: %v, %t, and %d objects were reported", err, ok, progress.Load())
	}
	stop()
}

type puller struct {
	*memstore.Store
	pull func(objects iter.Seq2[store.Import, error])
}

func (p *puller) AddMultipleToStore(_ context.Context, _ int, objects iter.Seq2[store.Import, error], _ *store.AddOptions) error {
	p.pull(objects)
	return nil
}

// Using an archive after the end of the copy is an error.
func TestArchiveAfterCopy(t *testing.T) {
	mem := memstore.New(nil)
	roots := chain(t, mem, 3, 100)
	var kept []io.ReadCloser
	dst := &puller{memstore.New(nil), func(objects iter.Seq2[store.Import, error]) {
		for object := range objects {
			kept = append(kept, object.NAR.(store.Keepable).Keep())
		}
	}}
	if how := testenv.Outcome(t, func() { store.Copy(t.Context(), dst, mem, roots, nil) }); how != "returned" {
		t.Errorf("the call ended with %v", how)
	}
	if len(kept) != 3 {
		t.Fatalf("%d archives", len(kept))
	}
	for _, archive := range kept {
		if n, err := archive.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if err := archive.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Panics in other calls that use stores reach the caller, too.
func TestPanics(t *testing.T) {
	mem := memstore.New(nil)
	paths := chain(t, mem, 20, 100)
	var export bytes.Buffer
	if err := store.ExportPaths(t.Context(), &export, mem, paths); err != nil {
		t.Fatal(err)
	}
	for name, use := range map[string]struct {
		where string
		call  func(s store.Store)
	}{
		"Closure":     {"QueryPathInfo", func(s store.Store) { closureError(t.Context(), s, paths...) }},
		"PathInfos":   {"QueryPathInfo", func(s store.Store) { store.PathInfos(t.Context(), s, paths) }},
		"MissingFrom": {"QueryPathInfo", func(s store.Store) { store.MissingFrom(t.Context(), mem, s, paths, false) }},
		"ExportPaths": {"Read", func(s store.Store) { store.ExportPaths(t.Context(), io.Discard, s, paths) }},
		"Walk.Ask": {"QueryPathInfo", func(s store.Store) {
			w := store.NewWalk(s.Dir(), "x", store.LimitsOf(s), 0)
			w.Ask(t.Context(), w.Start(paths...), 4, func(ctx context.Context, i int) (*store.PathInfo, string, error) {
				info, err := s.QueryPathInfo(ctx, paths[i])
				return info, "", err
			})
		}},
		"ImportPaths": {"AddToStoreNAR", func(s store.Store) {
			store.ImportPaths(t.Context(), onlyNAR{s, s.(*faulty).fault}, bytes.NewReader(export.Bytes()), &store.AddOptions{NoSignatures: true})
		}},
	} {
		for _, goexit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, goexit %t", name, goexit), func(t *testing.T) {
				testenv.NoLeak(t)
				var n atomic.Int64
				n.Store(5)
				s := &faulty{mem, func(where string) {
					if where == use.where && n.Add(-1) == 0 {
						testenv.Fault(goexit)
					}
				}}
				testenv.CheckFault(t, goexit, func() { use.call(s) })
			})
		}
	}
	// A panic in the body of the loop.
	testenv.NoLeak(t)
	how := testenv.Outcome(t, func() {
		for range store.Closure(t.Context(), mem, paths...) {
			panic(testenv.ErrPanic)
		}
	})
	if how != testenv.ErrPanic {
		t.Errorf("the call ended with %v", how)
	}
}

type onlyNAR struct {
	store.Store
	fault func(string)
}

func (s onlyNAR) AddToStoreNAR(context.Context, *store.PathInfo, io.Reader, *store.AddOptions) error {
	s.fault("AddToStoreNAR")
	return nil
}

// A cancelled store that continues to read does not get the next archive.
func TestImportReadsNoMore(t *testing.T) {
	mem := memstore.New(nil)
	paths := chain(t, mem, 2, 100)
	var export bytes.Buffer
	if err := store.ExportPaths(t.Context(), &export, mem, paths); err != nil {
		t.Fatal(err)
	}
	var archives []io.Reader
	dst := readsLater{mem, &archives}
	if _, err := store.ImportPaths(t.Context(), dst, &export, nil); err != nil {
		t.Fatal(err)
	}
	for _, archive := range archives {
		if n, err := archive.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	if len(archives) != 2 {
		t.Errorf("%d archives", len(archives))
	}
}

type readsLater struct {
	store.Store
	archives *[]io.Reader
}

func (s readsLater) AddToStoreNAR(_ context.Context, _ *store.PathInfo, archive io.Reader, _ *store.AddOptions) error {
	*s.archives = append(*s.archives, archive)
	return nil
}

// Copies that are cancelled at any time end, leave nothing behind, and call no callback
// afterwards.
func TestCancelledCopies(t *testing.T) {
	testenv.NoLeak(t)
	mem := memstore.New(nil)
	roots := append(chain(t, mem, 60, 100), chain(t, mem, 4, 1<<20)...)
	never := func(string) {}
	for i := range 40 {
		var dst store.Store = memstore.New(nil)
		if i%3 == 0 {
			dst = asynchronous{&faulty{memstore.New(nil), never}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var after atomic.Bool
		told := func() {
			if after.Load() {
				t.Error("a callback was called after the copy")
			}
		}
		ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) { told() }))
		time.AfterFunc(time.Duration(rand.Int64N(int64(20*time.Millisecond))), cancel)
		store.Copy(ctx, dst, &distant{Store: mem}, roots, &store.CopyOptions{Progress: func(*store.PathInfo) { told() }})
		after.Store(true)
		store.ExportPaths(ctx, io.Discard, &distant{Store: mem}, roots)
		closureError(ctx, &distant{Store: mem}, roots...)
		cancel()
	}
}
