package localstore

import (
	"testing"

	"pix/store"
	"pix/storepath"
)

// A collection that returns the dead paths also returns the total size of their archives: of all of them, or of the ones
// among the given paths.
func TestArchiveBytesOfDeadPaths(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	paths := addTexts(t, s, 20, false)
	var size uint64
	for _, p := range paths {
		info, err := s.QueryPathInfo(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		size += info.NARSize
	}
	check := func(opts store.GCOptions, paths int, want uint64) {
		t.Helper()
		opts.MaxFreed = 1 << 40
		result, err := s.CollectGarbage(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Paths) != paths || result.ArchiveBytes != want {
			t.Errorf("%s returns %d paths with archives of %d bytes, want %d and %d", opts.Action, len(result.Paths), result.ArchiveBytes, paths, want)
		}
	}
	one, err := s.QueryPathInfo(t.Context(), paths[3])
	if err != nil {
		t.Fatal(err)
	}
	check(store.GCOptions{Action: store.GCReturnDead}, len(paths), size)
	check(store.GCOptions{Action: store.GCReturnDead, Paths: []storepath.Path{one.Path}}, 1, one.NARSize)
	check(store.GCOptions{Action: store.GCReturnLive}, 0, 0)
	if err := s.AddTempRoot(t.Context(), one.Path); err != nil {
		t.Fatal(err)
	}
	check(store.GCOptions{Action: store.GCReturnDead, Paths: []storepath.Path{one.Path}}, 0, 0)
}
