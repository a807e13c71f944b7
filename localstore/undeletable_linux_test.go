package localstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/localstore/internal/flock"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// bindMount mounts the directory from on to, until the test ends.
func bindMount(t *testing.T, from, to string) {
	t.Helper()
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { unix.Unmount(to, unix.MNT_DETACH) })
}

// replaceByMount puts a directory that something is mounted on in the place of an object. It returns a file on
// that mount.
func replaceByMount(t *testing.T, s *Store, path storepath.Path) (file string) {
	t.Helper()
	precious := t.TempDir()
	file = filepath.Join(precious, "precious")
	object := s.object(path)
	err := errors.Join(os.WriteFile(file, nil, 0o644), removeObject(object), os.MkdirAll(object+"/sub", 0o755), os.WriteFile(object+"/other", nil, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	bindMount(t, precious, object+"/sub")
	return file
}

// A collection deletes everything else if one object cannot be deleted, and does not empty what is
// mounted on a directory of it.
func TestCollectUndeletable(t *testing.T) {
	onSmallDisk(t, "64m", func(t *testing.T, dir string) {
		const n = 600
		for _, how := range []store.GCOptions{
			deleteAll,
			{Action: store.GCDeleteDead, MaxFreed: 1 << 40},
			{Action: store.GCDeleteSpecific, MaxFreed: math.MaxUint64},
		} {
			s := open(t, Options{Root: filepath.Join(dir, fmt.Sprint(how.Action, how.MaxFreed))})
			paths := addTexts(t, s, n, false)
			bad := paths[n/2]
			precious := replaceByMount(t, s, bad)
			name := fmt.Sprint(how.Action, how.MaxFreed)
			if how.Action == store.GCDeleteSpecific {
				how.Paths = paths
			}
			var lines []string
			result, err := s.CollectGarbage(activity.WithHandler(t.Context(), collectLines(&lines)), how)
			left, ok := errors.AsType[*IncompleteError](err)
			if !ok || left.Failed != 1 || !strings.Contains(err.Error(), fmt.Sprintf("(%d store paths deleted, ", n-1)) {
				t.Errorf("%s: %v", name, err)
			}
			if result == nil || len(result.Paths) != n-1 || slices.Contains(result.Paths, string(bad)) {
				t.Fatalf("%s: %v", name, result)
			}
			want := fmt.Sprintf("error: cannot delete '%s/sub': something is mounted on it", bad)
			if !slices.Contains(lines, want) {
				t.Errorf("%s: no line %q in the last of %q", name, want, lines[max(0, len(lines)-5):])
			}
			if valid := countValid(t, s); valid > 0 {
				t.Errorf("%s: %d paths are still valid", name, valid)
			}
			if _, err := os.Stat(precious); err != nil {
				t.Error(err)
			}
			if err := unix.Unmount(s.object(bad)+"/sub", 0); err != nil {
				t.Fatal(err)
			}
			result, err = s.CollectGarbage(t.Context(), deleteAll)
			if err != nil || !slices.Equal(result.Paths, []string{string(bad)}) {
				t.Errorf("%s: afterwards %v, %v", name, result, err)
			}
		}
	})
}

// A pipe with the name of a temporary directory is garbage, and does not stop a collection; a directory that is locked
// stays.
func TestCollectTempNames(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	pipe, link, used := filepath.Join(s.storeDir, "tmp-pipe"), filepath.Join(s.storeDir, "tmp-link"), filepath.Join(s.storeDir, "tmp-used")
	if err := errors.Join(unix.Mkfifo(pipe, 0o644), os.Symlink(".", link), os.Mkdir(used, 0o700)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(used)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if locked, err := flock.Try(f, flock.Exclusive); !locked || err != nil {
		t.Fatal(locked, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	result, err := s.CollectGarbage(ctx, deleteAll)
	if err != nil || !slices.Equal(result.Paths, []string{"/nix/store/tmp-link", "/nix/store/tmp-pipe"}) {
		t.Error(result, err)
	}
}

// A link that cannot be deleted does not keep others from being deleted.
func TestCollectUndeletableLink(t *testing.T) {
	onSmallDisk(t, "64m", func(t *testing.T, dir string) {
		s := open(t, Options{Root: dir, AutoOptimise: true})
		garbage(t, s, 1) // makes .links
		links, err := os.ReadDir(s.links())
		if err != nil || len(links) != 1 {
			t.Fatal(links, err)
		}
		bad := filepath.Join(s.links(), strings.Repeat("0", 52))
		other := filepath.Join(dir, "other")
		if err := errors.Join(os.WriteFile(bad, nil, 0o444), os.WriteFile(other, nil, 0o444)); err != nil {
			t.Fatal(err)
		}
		bindMount(t, other, bad)
		result, err := s.CollectGarbage(t.Context(), deleteAll)
		if result == nil || len(result.Paths) != 1 || !errors.As(err, new(*IncompleteError)) {
			t.Error(result, err)
		}
		if names, err := os.ReadDir(s.links()); err != nil || len(names) != 1 {
			t.Error(names, err)
		}
	})
}

// Where no hard links can be made, an object is added with a warning, and optimising names every file.
func TestOptimiseWithoutHardLinks(t *testing.T) {
	onSmallDisk(t, "64m", func(t *testing.T, dir string) {
		s := open(t, Options{Root: dir, AutoOptimise: true})
		if err := unix.Mount("tmpfs", s.links(), "tmpfs", 0, ""); err != nil {
			t.Skip(err)
		}
		var lines []string
		ctx := activity.WithHandler(t.Context(), collectLines(&lines))
		archive := bigTree("x")
		info, err := s.AddToStore(ctx, "x", storepath.NAR, nixhash.SHA256, nil, strings.NewReader(string(archive)), nil)
		if err != nil || len(lines) != 1 || !strings.HasPrefix(lines[0], "warning: optimising '"+string(info.Path)) {
			t.Fatalf("%v, %q", err, lines)
		}
		err = s.OptimiseStore(ctx)
		left, ok := errors.AsType[*IncompleteError](err)
		if !ok || left.Failed < 2 || len(lines) != left.Failed+2 {
			t.Errorf("%v, %q", err, lines)
		}
		mustBeSound(t, s)
	})
}

// Optimising goes on after an object that is missing.
func TestOptimiseMissing(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	archive := bigTree("x")
	var objects []string
	for i := range 3 {
		info, err := s.AddToStore(t.Context(), fmt.Sprint("x", i), storepath.NAR, nixhash.SHA256, nil, strings.NewReader(string(archive)), nil)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, s.object(info.Path))
	}
	slices.Sort(objects)
	if err := removeObject(objects[0]); err != nil { // root can read everything else
		t.Fatal(err)
	}
	if left, ok := errors.AsType[*IncompleteError](s.OptimiseStore(t.Context())); !ok || left.Failed != 1 {
		t.Error(left)
	}
	if names, err := os.ReadDir(s.links()); err != nil || len(names) == 0 {
		t.Error(names, err)
	}
}

// Verification goes on after a file in .links that cannot be read.
func TestVerifyUnreadableLink(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	paths := addTexts(t, s, 2, false)
	err := errors.Join(unix.Mkfifo(filepath.Join(s.links(), strings.Repeat("0", 52)), 0o444),
		os.Chmod(s.object(paths[0]), 0o644), os.WriteFile(s.object(paths[0]), []byte("damaged"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	remain, lines := verify(t, s, true, false)
	if text := strings.Join(lines, "\n"); !remain || !strings.Contains(text, "path '"+string(paths[0])+"' was modified!") || !strings.Contains(text, "error: ") {
		t.Errorf("%v, %q", remain, lines)
	}
}

// A symlink that takes the place of a directory is not followed.
func TestChmodDirOfSymlink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(target, 0o755), os.Symlink("target", link)); err != nil {
		t.Fatal(err)
	}
	if err := chmodDir(unix.AT_FDCWD, link, 0o700); err == nil {
		t.Error("the mode of a symlink was changed")
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o755 {
		t.Error(info.Mode(), err)
	}
	if err := chmodDir(unix.AT_FDCWD, target, 0o700); err != nil {
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
	err := removeObject(name)
	close(stop)
	watching.Wait()
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if most > maxOpenDirs+40 {
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
	open := func(name string) *removedDir {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return &removedDir{File: f}
	}
	dir, child := open(top+"/dir"), open(other+"/child")
	if err := dir.suspend(); err != nil {
		t.Fatal(err)
	}
	if err := dir.resume(child); !errors.Is(err, errMoved) || dir.File != nil {
		t.Error(err)
	}
}
