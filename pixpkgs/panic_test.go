package pixpkgs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"pix/internal/testenv"
	"pix/pixpkgs"
	"pix/store"
	"pix/store/memstore"
)

var errPanic = errors.New("no")

// A watchedFS calls a function when it is used.
type watchedFS struct {
	fs.FS
	used func()
}

func (w *watchedFS) Open(name string) (fs.File, error) {
	w.used()
	return w.FS.Open(name)
}

// A restless store reads objects on another goroutine, and continues after it has returned.
type restless struct {
	*memstore.Store
	running sync.WaitGroup
}

func (r *restless) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	done := make(chan error, 1)
	r.running.Go(func() {
		err := errPanic
		defer func() { done <- err }()
		for object, sequenceErr := range objects {
			if err = sequenceErr; err != nil {
				return
			}
			time.Sleep(time.Millisecond)
			if _, err = io.Copy(io.Discard, object.NAR); err != nil {
				return
			}
		}
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// packageOf returns a package with 20 sources from a file system.
func packageOf(t *testing.T, fsys fs.FS) *pixpkgs.Package {
	t.Helper()
	var sources []any
	for i := range 20 {
		o, err := pixpkgs.SourceFS(t.Context(), fsys, ".", &pixpkgs.SourceOptions{Name: fmt.Sprint("source", i)})
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, o)
	}
	p, err := pixpkgs.Derive(pixpkgs.Spec{Name: "x", System: "x", Builder: "/bin/sh", Args: sources})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// If a file system panics or ends its goroutine while files are added, the caller of Realize panics or
// ends.
func TestSourcePanics(t *testing.T) {
	for _, goexit := range []bool{false, true} {
		for _, async := range []bool{false, true} {
			t.Run(fmt.Sprintf("goexit %t, on another goroutine %t", goexit, async), func(t *testing.T) {
				testenv.NoLeak(t)
				var bad atomic.Bool
				p := packageOf(t, &watchedFS{fstest.MapFS{"a": {Data: []byte("b\n")}}, func() {
					if !bad.Load() {
						return
					}
					if goexit {
						runtime.Goexit()
					}
					panic(errPanic)
				}})
				bad.Store(true)
				var s store.Store = memstore.New(nil)
				if async {
					s = &restless{Store: memstore.New(nil)}
				}
				ended := make(chan any, 1)
				go func() {
					how := any("exited")
					defer func() {
						if v := recover(); v != nil {
							how = v
						}
						ended <- how
					}()
					pixpkgs.Realize(t.Context(), s, p)
					how = "returned"
				}()
				how := <-ended
				err, _ := how.(error)
				if goexit && how != "exited" || !goexit && !errors.Is(err, errPanic) {
					t.Errorf("it ended with %v", how)
				}
			})
		}
	}
}

// No file is read after Realize has returned, whenever it is cancelled.
func TestNotReadAfterwards(t *testing.T) {
	testenv.NoLeak(t)
	var after atomic.Bool
	p := packageOf(t, &watchedFS{fstest.MapFS{"a": {Data: []byte("b\n")}}, func() {
		if after.Load() {
			t.Error("a file was opened after Realize had returned")
		}
	}})
	for i := range 30 {
		s := &restless{Store: memstore.New(nil)}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
		if _, err := pixpkgs.Realize(ctx, s, p); err == nil {
			t.Error("Realize succeeded without a build")
		}
		after.Store(true)
		s.running.Wait()
		after.Store(false)
	}
}
