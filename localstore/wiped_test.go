package localstore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pix/internal/testenv"
	"pix/localstore/internal/temproots"
	"pix/nixhash"
	"pix/storepath"
)

// The store is deleted again and again while others add objects, which may fail. Afterwards the store is consistent,
// works, and another process can use it.
func TestWipedWhileAdding(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	s := open(t, Options{Root: root})
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for worker := range 3 {
		workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprint(worker, "-", i)
				s.AddTextToStore(t.Context(), name, name, nil)
				s.AddToStore(t.Context(), name, storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(treeNAR()), nil)
				s.QueryAllValidPaths(t.Context())
			}
		})
	}
	for range 15 {
		time.Sleep(20 * time.Millisecond)
		for os.RemoveAll(root) != nil { // files may be created in it meanwhile
			testenv.MakeWritable(root)
		}
	}
	close(stop)
	workers.Wait()
	for os.RemoveAll(root) != nil {
		testenv.MakeWritable(root)
	}
	path, err := s.AddTextToStore(t.Context(), "after", "after", nil)
	if err != nil {
		t.Fatal(err)
	}
	checkSound(t, s)
	other := open(t, Options{Root: root})
	if paths, err := other.QueryAllValidPaths(t.Context()); err != nil || len(paths) != 1 || paths[0] != path {
		t.Errorf("another Store has %v, %v", paths, err)
	}
	roots, err := temproots.Find(t.Context(), s.rootsState(), true, nil)
	kept := false
	for _, r := range roots {
		kept = kept || r.Path == path
	}
	if err != nil || !kept {
		t.Errorf("an added path was not kept: %v, %v", roots, err)
	}
}
