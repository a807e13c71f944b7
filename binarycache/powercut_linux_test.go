package binarycache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"pix/binarycache"
	"pix/internal/powercut"
	"pix/store"
	"pix/storepath"
)

// powerCutChild is the environment variable of the process under test: the directory of the cache.
const powerCutChild = "BINARYCACHE_TEST_POWERCUT"

// With SyncObjects, a power cut at any moment leaves a directory in which every listed object is complete and
// every added object is listed.
func TestPowerCut(t *testing.T) {
	src, paths := chain(t, 4)
	if dir := os.Getenv(powerCutChild); dir != "" {
		c := open(t, "file://"+dir, &binarycache.Options{SyncObjects: true, WriteListings: true})
		for i, p := range paths {
			if _, err := store.Copy(t.Context(), c, src, []storepath.Path{p}, nil); err != nil {
				t.Fatal(err)
			}
			powercut.Mark(fmt.Sprint(i))
		}
		return
	}
	if err := powercut.Available(); err != nil {
		t.Skip("recording is not possible: ", err)
	}
	parent := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPowerCut$")
	cmd.Env = append(os.Environ(), powerCutChild+"="+filepath.Join(parent, "a/cache"))
	r, err := powercut.Record(cmd, parent)
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := func(n int) (added int) {
		for i := range paths {
			if after, ok := r.Marked(fmt.Sprint(i)); !ok {
				t.Fatalf("the object %d was not added", i)
			} else if after <= n {
				added++
			}
		}
		return added
	}
	cuts := 0
	for n := 1; n <= r.Len(); n++ {
		pending := r.Pending(n)
		losses := [][]int{nil, pending}
		for _, i := range pending {
			losses = append(losses, []int{i}, []int{i, pending[rand.IntN(len(pending))]})
		}
		for range 3 {
			losses = append(losses, slices.DeleteFunc(slices.Clone(pending), func(int) bool { return rand.IntN(2) == 0 }))
		}
		for _, lost := range losses {
			cuts++
			if err := checkAfterCut(t.Context(), r, n, lost, paths, acknowledged(n)); err != nil {
				t.Fatalf("after %s, without\n%s\n: %v", r.Describe(n-1), r.Describe(lost...), err)
			}
		}
	}
	t.Logf("%d operations, %d power cuts", r.Len(), cuts)
}

// checkAfterCut checks the cache that a power cut leaves.
func checkAfterCut(ctx context.Context, r *powercut.Recording, n int, lost []int, paths []storepath.Path, added int) error {
	temp, remove, err := powercut.TempDir()
	if err != nil {
		return err
	}
	defer remove()
	parent := filepath.Join(temp, "parent")
	if err := r.Restore(parent, n, lost...); err != nil {
		return err
	}
	c, err := binarycache.Open(ctx, "file://"+filepath.Join(parent, "a/cache"), nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for i, p := range paths {
		switch valid, err := c.IsValidPath(ctx, p); {
		case err != nil:
			return err
		case !valid && i < added:
			return fmt.Errorf("%s was added, but is missing", p)
		case !valid:
			continue
		}
		archive, err := c.NARFromPath(ctx, p)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, archive)
		if err := errors.Join(err, archive.Close()); err != nil {
			return err
		}
	}
	return nil
}
