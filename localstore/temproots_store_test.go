package localstore

import (
	"fmt"
	"os"
	"testing"

	"pix/storepath"
)

// Opening and closing sessions beside a session with very many roots does not write all roots again each time. The
// paths of closed sessions are still collected.
func TestTempRootsBesideMany(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	var many []storepath.Path
	for i := range 20_000 {
		many = append(many, somePath(t, i))
	}
	if _, err := s.addTempRoots(t.Context(), many...); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		info, err := os.Stat(rootsFiles(t, s.layout)[0])
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before, left := size(), 0
	for i := range 500 {
		session, err := s.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.(*Store).AddTextToStore(t.Context(), "x", fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
		if err := session.Close(); err != nil {
			t.Fatal(err)
		}
		if size() > before {
			left++
		}
	}
	if left < 400 {
		t.Errorf("the file was written again at the end of %d of 500 sessions", 500-left)
	}
	if result, err := s.CollectGarbage(t.Context(), deleteAll); err != nil || len(result.Paths) != 500 {
		t.Errorf("%d paths were collected, %v", len(result.Paths), err)
	}
	if size() != before {
		t.Errorf("the file has %d bytes, and had %d before", size(), before)
	}
}
