package removetree

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A symlink that takes the place of a directory is not followed.
func TestChmodDirOfSymlink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(target, 0o755), os.Symlink("target", link)); err != nil {
		t.Fatal(err)
	}
	if err := ChmodDir(unix.AT_FDCWD, link, 0o700); err == nil {
		t.Error("the mode of a symlink was changed")
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o755 {
		t.Error(info.Mode(), err)
	}
	if err := ChmodDir(unix.AT_FDCWD, target, 0o700); err != nil {
		t.Error(err)
	}
}

// deepTree makes directories in each other, with a file in each, below a name in a directory.
func deepTree(t *testing.T, name string, depth int) {
	t.Helper()
	parent := unix.AT_FDCWD
	for i := range depth {
		err := unix.Mkdirat(parent, name, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		dir, err := unix.Openat(parent, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"a", "z"} {
			fd, err := unix.Openat(dir, file, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
		}
		if i > 0 {
			unix.Close(parent)
		}
		parent, name = dir, "d"
	}
	unix.Close(parent)
}

// A tree is removed with a few descriptors, however deep it is.
func TestRemoveDeepTree(t *testing.T) {
	name := filepath.Join(t.TempDir(), "deep")
	deepTree(t, name, 300)
	most, stop := 0, make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				files, _ := os.ReadDir("/proc/self/fd")
				most = max(most, len(files))
			}
		}
	})
	err := RemovePath(name)
	close(stop)
	watching.Wait()
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if most > MaxOpenDirs+40 {
		t.Errorf("%d files were open", most)
	}
}

// A directory that its owner moves elsewhere while it is emptied leads to no other files.
func TestRemoveMovedTree(t *testing.T) {
	top := t.TempDir()
	other := filepath.Join(top, "other")
	if err := errors.Join(os.MkdirAll(other+"/child", 0o755), os.WriteFile(other+"/precious", nil, 0o644), os.Mkdir(top+"/dir", 0o755)); err != nil {
		t.Fatal(err)
	}
	open := func(name string) *openDirectory {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return &openDirectory{File: f}
	}
	dir, child := open(top+"/dir"), open(other+"/child")
	if err := dir.suspend(); err != nil {
		t.Fatal(err)
	}
	if err := dir.resume(child); !errors.Is(err, errMoved) || dir.File != nil {
		t.Error(err)
	}
}
