package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"pix/activity"
	"pix/internal/testenv"
	"pix/store"
	"pix/storepath"
)

// A panic in work or use, and runtime.Goexit, reach the caller of inOrder.
func TestInOrderPanics(t *testing.T) {
	items := make([]int, 100)
	for i := range items {
		items[i] = i
	}
	for _, goexit := range []bool{false, true} {
		for _, where := range []string{"work", "use"} {
			for _, at := range []int{0, 50, 99} {
				testenv.NoLeak(t)
				var after atomic.Bool
				fault := func(here string, i int) {
					if after.Load() {
						t.Errorf("%s was called after inOrder had returned", here)
					}
					if here == where && i == at {
						testenv.Fault(goexit)
					}
				}
				testenv.CheckFault(t, goexit, func() {
					defer after.Store(true)
					inOrder(items,
						func(i int) (int, error) { fault("work", i); return i, nil },
						func(i, result int, err error) error {
							if fault("use", i); i != result || err != nil || where == "work" && i >= at {
								t.Errorf("item %d has the result %d, %v", i, result, err)
							}
							return nil
						})
				})
			}
		}
	}
}

type panicReader func()

func (p panicReader) Read([]byte) (int, error) { p(); return 0, io.ErrNoProgress }

type panicArchive struct{ panicReader }

func (p panicArchive) Keep() io.ReadCloser { return io.NopCloser(p.panicReader) }

// A panic in the caller's code during an upload of many objects reaches the caller. No part of the batch remains, and
// the store still works.
func TestAddMultiplePanics(t *testing.T) {
	for _, goexit := range []bool{false, true} {
		fault := func() { testenv.Fault(goexit) }
		for where, bad := range map[string]io.Reader{"archive": panicReader(fault), "archive that is kept": panicArchive{fault}, "sequence": nil} {
			t.Run(fmt.Sprintf("%s, goexit %t", where, goexit), func(t *testing.T) {
				s := open(t, Options{Root: t.TempDir(), NoSignatures: true})
				var objects []store.Import
				var paths []storepath.Path
				for i := range 20 {
					info, archive := object(t, fmt.Sprint("o", i))
					objects = append(objects, store.Import{Info: info, NAR: strings.NewReader(string(archive))})
					paths = append(paths, info.Path)
				}
				add := func(bad io.Reader, fault func()) iter.Seq2[store.Import, error] {
					return func(yield func(store.Import, error) bool) {
						for i, o := range objects {
							if i == 10 && bad != nil {
								o.NAR = bad
							}
							if !yield(o, nil) {
								return
							}
						}
						fault()
					}
				}
				check := func(want int) {
					t.Helper()
					if valid, err := s.QueryValidPaths(t.Context(), paths, false); err != nil || len(valid) != want {
						t.Errorf("%d paths are valid, %v", len(valid), err)
					}
					if names := onDisk(t, s); len(names) != want {
						t.Errorf("the store directory has %q", names)
					}
				}
				testenv.NoLeak(t)
				testenv.CheckFault(t, goexit, func() { s.AddMultipleToStore(t.Context(), len(objects), add(bad, fault), nil) })
				check(0)
				for i := range objects {
					_, archive := object(t, fmt.Sprint("o", i))
					objects[i].NAR = strings.NewReader(string(archive))
				}
				if err := s.AddMultipleToStore(t.Context(), len(objects), add(nil, func() {}), nil); err != nil {
					t.Error(err)
				}
				check(len(objects))
			})
		}
	}
}

// A panic in the caller's handler during a collection or verification reaches the caller, and the next call does not
// wait for locks of the first.
func TestHandlerPanics(t *testing.T) {
	for _, goexit := range []bool{false, true} {
		for at, call := range map[string]func(context.Context, *Store) error{
			"deleting '": func(ctx context.Context, s *Store) error {
				_, err := s.CollectGarbage(ctx, deleteAll)
				return err
			},
			"path '": func(ctx context.Context, s *Store) error {
				_, err := s.VerifyStore(ctx, true, false)
				return err
			},
		} {
			t.Run(fmt.Sprintf("%s, goexit %t", at, goexit), func(t *testing.T) {
				s := open(t, Options{Root: t.TempDir()})
				paths := addTexts(t, s, 600, false)
				if err := errors.Join(os.Chmod(s.object(paths[300]), 0o644), os.WriteFile(s.object(paths[300]), []byte("x"), 0o644)); err != nil {
					t.Fatal(err)
				}
				testenv.NoLeak(t)
				happened := false
				ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
					if log, ok := e.(activity.Log); ok && strings.HasPrefix(log.Text, at) && !happened {
						happened = true
						testenv.Fault(goexit)
					}
				}))
				testenv.CheckFault(t, goexit, func() { call(ctx, s) })
				if err := call(ctx, s); err != nil {
					t.Errorf("the next one: %v", err)
				}
			})
		}
	}
}
