package localstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// On a full disk no incomplete path becomes valid, and the store works again when space is free.
func TestFullDisk(t *testing.T) {
	testenv.OnSmallDisk(t, "12m", func(t *testing.T, dir string) {
		s := open(t, Options{Root: dir})
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o666); err != nil {
			t.Fatal(err)
		}
		add := func(i int) (err error) {
			switch name := fmt.Sprint("x", i); i % 3 {
			case 0:
				_, err = s.AddTextToStore(t.Context(), name, strings.Repeat(name, 5000), nil)
			case 1:
				_, err = s.AddToStore(t.Context(), name, storepath.NAR, nixhash.SHA256, nil, strings.NewReader(string(fileNAR(strings.Repeat(name, 5000)))), nil)
			case 2:
				info, archive := object(t, strings.Repeat("x", 100)+name)
				err = s.AddMultipleToStore(t.Context(), 1, oneImport(info, archive), &store.AddOptions{NoSignatures: true})
			}
			return err
		}
		var err error
		i := 0
		for ; err == nil && i < 10000; i++ {
			err = add(i)
		}
		var full *DatabaseError
		if !errors.Is(err, unix.ENOSPC) && (!errors.As(err, &full) || sqlite.ErrCode(full).ToPrimary() != sqlite.ResultFull && sqlite.ErrCode(full).ToPrimary() != sqlite.ResultIOErr) {
			t.Fatalf("after %d objects: %v, want a full disk", i, err)
		}
		t.Logf("after %d objects: %v", i, err)
		checkSound(t, s)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if err := add(i - 1); err != nil {
			t.Errorf("after space was freed: %v", err)
		}
		checkSound(t, s)

		// The disk is too full to create a database.
		if err := os.WriteFile(ballast, make([]byte, 12<<20), 0o666); err == nil {
			t.Error("the disk is not full")
		}
		if other, err := Open(t.Context(), &Options{Root: filepath.Join(dir, "other")}); err == nil {
			other.Close()
			t.Error("a store was created on a full disk")
		} else {
			t.Log(err)
		}
	})
}

// A store on a read-only disk can be read.
func TestReadOnlyDisk(t *testing.T) {
	testenv.OnSmallDisk(t, "16m", func(t *testing.T, dir string) {
		s, err := Open(t.Context(), &Options{Root: dir})
		if err != nil {
			t.Fatal(err)
		}
		path, err := s.AddTextToStore(t.Context(), "x", "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Skip(err)
		}
		if s, err := Open(t.Context(), &Options{Root: dir}); !errors.Is(err, unix.EROFS) {
			if err == nil {
				s.Close()
			}
			t.Errorf("opened for writing: %v", err)
		}
		s = open(t, Options{Root: dir, ReadOnly: true})
		readNAR(t, s, path)
		if _, err := s.AddTextToStore(t.Context(), "y", "y", nil); !errors.Is(err, ErrReadOnly) {
			t.Errorf("adding an object: %v", err)
		}
		if _, err := s.AddTextToStore(t.Context(), "x", "x", nil); err != nil {
			t.Errorf("adding a valid path: %v", err)
		}
		if err := s.AddBuildLog(context.Background(), path, strings.NewReader("x")); !errors.Is(err, ErrReadOnly) {
			t.Errorf("adding a log: %v", err)
		}
	})
}
