package binarycache_test

import (
	"errors"
	"fmt"
	"testing"

	"pix/binarycache"
	"pix/internal/realnix"
	"pix/store"
	"pix/storepath"
)

// A bad archive does not prevent a real daemon from copying the others, small ones and a large one.
func TestCopyToNixSomeFail(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		_, pool := realPool(t, s, nil)
		f := newFake()
		var paths []storepath.Path
		for i := range 60 {
			n := f.put(t, fmt.Sprint("text-", i), "none", 100+i)
			if i == 30 || i == 50 {
				f.files[n.URL] = f.files[n.URL][:50]
			}
			paths = append(paths, n.Path)
		}
		large := f.put(t, "large", "none", 3<<20)
		f.files[large.URL] = f.files[large.URL][:2<<20]
		fine := f.put(t, "large-fine", "none", 3<<20+1)
		paths = append(paths, large.Path, fine.Path)
		c := f.open(t, binarycache.HTTPOptions{Tries: 1})
		copied, err := store.Copy(t.Context(), pool, c, paths, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
		var failed *store.CopyError
		if !errors.As(err, &failed) || len(failed.Failed) != 3 || len(copied) != 59 {
			t.Errorf("%d were copied, %v", len(copied), err)
		}
		if valid, err := pool.QueryValidPaths(t.Context(), paths, false); err != nil || len(valid) != 59 {
			t.Errorf("%d are valid, %v", len(valid), err)
		}
	})
}
