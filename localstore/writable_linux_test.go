package localstore

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A store whose directory is mounted read-only for all programs, as on NixOS, can be changed, and stays read-only for
// other programs.
func TestReadOnlyBindMount(t *testing.T) {
	testenv.OnSmallDisk(t, "64m", func(t *testing.T, dir string) {
		if s := open(t, Options{Root: dir}); s.storeDir != s.storeName {
			t.Errorf("a writable store is opened as %s", s.storeDir)
		}
		objects := filepath.Join(dir, "nix/store")
		bindMount(t, objects, objects)
		mounted := filepath.Join(objects, somePath(t, 1).Base())
		precious := filepath.Join(t.TempDir(), "precious")
		if err := errors.Join(os.Mkdir(mounted, 0o755), os.WriteFile(precious, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		bindMount(t, filepath.Dir(precious), mounted)
		if err := unix.Mount("", objects, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			t.Skip(err)
		}
		s := open(t, Options{Root: dir})
		if s.readOnly != nil {
			t.Skip(s.readOnly)
		}
		if got := s.Info().StoreDir; got != objects {
			t.Errorf("the store directory is %s", got)
		}
		session, err := s.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		client := session.(*Store)
		archive := bigTree("x")
		for _, name := range []string{"a", "b"} {
			if _, err := client.AddToStore(t.Context(), name, storepath.NAR, nixhash.SHA256, nil, strings.NewReader(string(archive)), nil); err != nil {
				t.Fatal(err)
			}
		}
		addTexts(t, client, 2, true)
		if err := client.OptimiseStore(t.Context()); err != nil {
			t.Error(err)
		}
		checkSound(t, client)
		link := filepath.Join(s.links(), strings.Repeat("0", 52))
		if err := os.WriteFile(link, nil, 0o444); err != nil {
			t.Fatal(err)
		}
		if remain, lines := verify(t, client, true, false); !remain || !strings.Contains(strings.Join(lines, "\n"), "link '"+objects+"/.links/") {
			t.Errorf("%v, %q", remain, lines)
		}
		client.Close()
		result, err := s.CollectGarbage(t.Context(), deleteAll)
		if !errors.As(err, new(*IncompleteError)) || result == nil || len(result.Paths) != 4 {
			t.Errorf("%v, %v", result, err)
		}
		if _, err := os.Stat(precious); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(objects, "x"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
			t.Errorf("other programs can write: %v", err)
		}
	})
}

// If a store directory that is mounted read-only cannot be made writable, queries work, and an operation that would
// change the store fails before it changes the database.
func TestReadOnlyFileSystem(t *testing.T) {
	testenv.OnSmallDisk(t, "64m", func(t *testing.T, dir string) {
		objects := filepath.Join(dir, "objects")
		if err := os.Mkdir(objects, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", objects, "tmpfs", 0, ""); err != nil {
			t.Skip(err)
		}
		opts := Options{StoreDir: filepath.Join(objects, "store"), StateDir: filepath.Join(dir, "state"), LogDir: filepath.Join(dir, "log")}
		paths := addTexts(t, open(t, opts), 2, false)
		if err := unix.Mount("", objects, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Skip(err)
		}
		s := open(t, opts)
		refused := func(what string, err error) {
			t.Helper()
			refusal, ok := errors.AsType[*ReadOnlyMountError](err)
			if !ok || refusal.Dir != opts.StoreDir || refusal.Err == nil || !errors.Is(err, syscall.EROFS) {
				t.Errorf("%s: %v", what, err)
			}
		}
		var lines []string
		_, err := s.CollectGarbage(activity.WithHandler(t.Context(), collectLines(&lines)), deleteAll)
		refused("collecting", err)
		if len(lines) > 0 {
			t.Errorf("collecting reported %q", lines)
		}
		refused("optimising", s.OptimiseStore(t.Context()))
		_, err = s.AddTextToStore(t.Context(), "new", "", nil)
		refused("adding a text", err)
		_, err = s.AddToStore(t.Context(), "new", storepath.NAR, nixhash.SHA256, nil, strings.NewReader(string(bigTree("x"))), nil)
		refused("adding a tree", err)
		for _, path := range paths {
			if valid, err := s.IsValidPath(t.Context(), path); !valid || err != nil {
				t.Errorf("%s: %v, %v", path, valid, err)
			}
		}
		if remain, lines := verify(t, s, true, false); remain {
			t.Errorf("%q", lines)
		}
		if err := unix.Mount("tmpfs", opts.StoreDir, "tmpfs", unix.MS_RDONLY, ""); err != nil { // in which no object exists
			t.Fatal(err)
		}
		if remain, lines := verify(t, s, false, false); !remain || countValid(t, s) != 2 {
			t.Errorf("%v, %q", remain, lines)
		}
		unix.Unmount(opts.StoreDir, 0)
		if dead, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCReturnDead, MaxFreed: math.MaxUint64}); err != nil || len(dead.Paths) != 2 {
			t.Error(dead, err)
		}
	})
}

// A process that can write to the database but not to the store directory fails before it makes a path invalid.
func TestCollectWithoutRights(t *testing.T) {
	s := open(t, Options{Root: publicDir(t)})
	addTexts(t, s, 1, false)
	if err := os.Chmod(s.storeDir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(s.storeDir, 0o755)
	refused := func(what string, err error) {
		t.Helper()
		refusal, ok := errors.AsType[*fs.PathError](err)
		if !ok || refusal.Path != s.storeName || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", what, err)
		}
	}
	asNobody(t, func() {
		_, err := s.CollectGarbage(t.Context(), deleteAll)
		refused("collecting", err)
		refused("optimising", s.OptimiseStore(t.Context()))
	})
	if n := countValid(t, s); n != 1 {
		t.Errorf("%d paths are valid", n)
	}
}
