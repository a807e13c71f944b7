package localstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"pix/internal/testenv"
	"pix/store"
)

// A stream of texts on a disk that becomes full ends with the error of the disk, and not with one for each text. No
// incomplete text becomes valid, and when space is free the same stream succeeds.
func TestStreamOnFullDisk(t *testing.T) {
	testenv.OnSmallDisk(t, "24m", func(t *testing.T, dir string) {
		s := open(t, Options{Root: dir})
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 12<<20), 0o666); err != nil {
			t.Fatal(err)
		}
		const n = 20 * batchObjects
		stream := func() error {
			var texts []store.Import
			for i := range n {
				text, err := store.ImportText(s.Dir(), fmt.Sprint("x", i), strings.Repeat(fmt.Sprint(i), 1000), nil)
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, text)
			}
			return s.AddMultipleToStore(t.Context(), n, imports(texts), nil)
		}
		err := stream()
		var full *DatabaseError
		isFull := errors.As(err, &full) && (sqlite.ErrCode(full).ToPrimary() == sqlite.ResultFull || sqlite.ErrCode(full).ToPrimary() == sqlite.ResultIOErr)
		if !errors.Is(err, unix.ENOSPC) && !isFull {
			t.Fatalf("%v, want a full disk", err)
		}
		if refused, ok := errors.AsType[*store.AddError](err); ok {
			t.Errorf("%d texts were refused", len(refused.Failed))
		}
		t.Log(err)
		checkSound(t, s)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if err := stream(); err != nil {
			t.Errorf("after space was freed: %v", err)
		}
		checkSound(t, s)
		if valid, err := s.QueryAllValidPaths(t.Context()); err != nil || len(valid) != n {
			t.Errorf("%d valid paths, %v, want %d", len(valid), err, n)
		}
	})
}
