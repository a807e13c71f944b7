package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// oneImport yields one object.
func oneImport(info *store.PathInfo, archive []byte) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		yield(store.Import{Info: info, NAR: bytes.NewReader(archive)}, nil)
	}
}

func TestAddMultiple(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	opts := &store.AddOptions{NoSignatures: true}
	// A chain that is longer than a batch, with each batch in the wrong order.
	const n = batchObjects + 50
	var all []store.Import
	var last *store.PathInfo
	for i := range n {
		var refs []storepath.Path
		if last != nil {
			refs = append(refs, last.Path)
		}
		info, archive := object(t, fmt.Sprint("x", i), refs...)
		if i == n-1 {
			archive = treeNAR()
			info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, archive), uint64(len(archive))
		}
		all = append(all, store.Import{Info: info, NAR: bytes.NewReader(archive)})
		last = info
	}
	reversed := slices.Clone(all)
	slices.Reverse(reversed[:batchObjects])
	reversed = append(reversed, reversed[0])
	if err := s.AddMultipleToStore(t.Context(), n+1, imports(reversed), opts); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, err := range store.Closure(t.Context(), s, last.Path) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if left := onDisk(t, s); count != n || len(left) != n {
		t.Errorf("%d paths and %d names in the store directory", count, len(left))
	}
	checkCanonical(t, s)
}

// A call that fails adds the objects that were complete, and leaves no parts of others.
func TestAddMultipleFails(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	opts := &store.AddOptions{NoSignatures: true}
	broken := errors.New("broken")
	one, archive := object(t, "one")
	if err := s.AddMultipleToStore(t.Context(), 2, func(yield func(store.Import, error) bool) {
		_ = yield(store.Import{Info: one, NAR: bytes.NewReader(archive)}, nil) && yield(store.Import{}, broken)
	}, opts); err != broken {
		t.Errorf("%v", err)
	}
	if err := s.AddMultipleToStore(t.Context(), 2, oneImport(one, archive), opts); err == nil {
		t.Error("no error although one object is missing")
	}
	complete := 0
	if valid, err := s.IsValidPath(t.Context(), one.Path); err != nil {
		t.Error(err)
	} else if valid { // it was complete before the error
		complete++
	}
	two, archive := object(t, "two")
	long := *two
	long.NARSize = 8
	var mismatch *store.MismatchError
	if err := s.AddMultipleToStore(t.Context(), 1, oneImport(&long, archive), opts); !errors.As(err, &mismatch) {
		t.Errorf("an archive that is too long: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if err := s.AddMultipleToStore(ctx, 1, oneImport(two, archive), opts); err != broken {
		t.Errorf("%v", err)
	}
	if left := onDisk(t, s); len(left) != complete {
		t.Errorf("failed calls left %q", left[complete:])
	}
}

// Calls that add the same objects in different orders do not deadlock.
func TestAddMultipleCrossing(t *testing.T) {
	root := t.TempDir()
	var workers sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for worker := range 4 {
		s := open(t, Options{Root: root})
		workers.Go(func() {
			objects := func(yield func(store.Import, error) bool) {
				for i := range 100 {
					if worker%2 == 1 {
						i = 99 - i
					}
					info, archive := object(t, fmt.Sprint("x", i))
					if !yield(store.Import{Info: info, NAR: bytes.NewReader(archive)}, nil) {
						return
					}
				}
			}
			if err := s.AddMultipleToStore(ctx, 100, objects, &store.AddOptions{NoSignatures: true}); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	s := open(t, Options{Root: root})
	if left := onDisk(t, s); len(left) != 100 {
		t.Errorf("the store has %d objects", len(left))
	}
}
