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
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/internal/flock"
	"pix/internal/testenv"
	"pix/localstore/internal/objects"
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

// replaceByMount replaces an object by a directory in which a file system is mounted. It returns a file on that mount.
func replaceByMount(t *testing.T, s *Store, path storepath.Path) (file string) {
	t.Helper()
	precious := t.TempDir()
	file = filepath.Join(precious, "precious")
	object := s.object(path)
	err := errors.Join(os.WriteFile(file, nil, 0o644), objects.Remove(object), os.MkdirAll(object+"/sub", 0o755), os.WriteFile(object+"/other", nil, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	bindMount(t, precious, object+"/sub")
	return file
}

// If one object cannot be deleted, a collection deletes the others, and does not delete files that are mounted in the
// object.
func TestCollectUndeletable(t *testing.T) {
	testenv.OnSmallDisk(t, "64m", func(t *testing.T, dir string) {
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

// A pipe with the name of a temporary directory is garbage, and does not stop a collection. A locked directory stays.
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result, err := s.CollectGarbage(ctx, deleteAll)
	if err != nil || !slices.Equal(result.Paths, []string{"/nix/store/tmp-link", "/nix/store/tmp-pipe"}) {
		t.Error(result, err)
	}
}

// If one file in .links cannot be deleted, the others are still deleted.
func TestCollectUndeletableLink(t *testing.T) {
	testenv.OnSmallDisk(t, "64m", func(t *testing.T, dir string) {
		s := open(t, Options{Root: dir, AutoOptimise: true})
		garbage(t, s, 1) // creates .links
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

// On a file system without hard links, an object is added with a warning, and optimisation reports every file.
func TestOptimiseWithoutHardLinks(t *testing.T) {
	testenv.OnSmallDisk(t, "64m", func(t *testing.T, dir string) {
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
		checkSound(t, s)
	})
}

// Optimisation continues after a missing object.
func TestOptimiseMissing(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	archive := bigTree("x")
	var names []string
	for i := range 3 {
		info, err := s.AddToStore(t.Context(), fmt.Sprint("x", i), storepath.NAR, nixhash.SHA256, nil, strings.NewReader(string(archive)), nil)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.object(info.Path))
	}
	slices.Sort(names)
	if err := objects.Remove(names[0]); err != nil { // root can read everything else
		t.Fatal(err)
	}
	if left, ok := errors.AsType[*IncompleteError](s.OptimiseStore(t.Context())); !ok || left.Failed != 1 {
		t.Error(left)
	}
	if links, err := os.ReadDir(s.links()); err != nil || len(links) == 0 {
		t.Error(links, err)
	}
}

// Verification continues after a file in .links that cannot be read.
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
