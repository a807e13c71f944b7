package localstore

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/localstore/internal/temproots"
)

// asNobody calls f with the file permissions of an unprivileged user. Only the goroutine of f has these permissions.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	defer unix.Setfsuid(0)
	f()
}

// publicDir is t.TempDir with a directory that every user may read.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// unreadableRoots are errors that hide what a symlink or directory keeps. spoil may name secret, a directory that may
// not be read, or a file in it.
var unreadableRoots = map[string]struct {
	spoil func(l layout, secret string) error // the error names secret, which may not be read, or a file below it
	named string                              // in the error, below the state directory
}{
	"target": {func(l layout, secret string) error {
		return os.Symlink(secret+"/link", filepath.Join(l.autoRoots(), "x"))
	}, "gcroots/auto/x"},
	"target through a link": {func(l layout, secret string) error {
		return os.Symlink("y/link", filepath.Join(l.gcRoots(), "x"))
	}, "gcroots/x"},
	"directory": {func(l layout, secret string) error {
		return os.Rename(secret, filepath.Join(l.gcRoots(), "x"))
	}, "gcroots/x"},
	"profiles": {func(l layout, secret string) error {
		return os.Chmod(l.profiles(), 0)
	}, "profiles"},
	"dangling": {func(l layout, secret string) error {
		if err := os.Rename(l.gcRoots(), l.gcRoots()+"-moved"); err != nil {
			return err
		}
		return os.Symlink("/nowhere", l.gcRoots())
	}, "gcroots"},
	"loop": {func(l layout, secret string) error {
		if err := os.RemoveAll(l.profiles()); err != nil {
			return err
		}
		return os.Symlink("profiles", l.profiles())
	}, "profiles"},
}

// If the search cannot determine what a symlink or a directory keeps, nothing is deleted.
func TestUnreadablePermanentRoots(t *testing.T) {
	for name, test := range unreadableRoots {
		t.Run(name, func(t *testing.T) {
			fails := os.Getuid() != 0 || name == "dangling" || name == "loop" // root may read everything
			testUnreadableRoot(t, test.spoil, test.named, fails)
		})
	}
}

// testUnreadableRoot checks that the errors of a search name a file, and that a collection fails.
func testUnreadableRoot(t *testing.T, spoil func(l layout, secret string) error, named string, collectionFails bool) {
	s := open(t, Options{Root: publicDir(t)})
	l := s.layout
	kept := addTexts(t, s, 1, false)[0]
	rootTo(t, l, "kept", kept)
	if err := os.MkdirAll(l.autoRoots(), 0o777); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(l.stateDir, "secret")
	if err := os.Mkdir(secret, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(string(kept), filepath.Join(secret, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(l.gcRoots(), "y")); err != nil {
		t.Fatal(err)
	}
	if err := spoil(l, secret); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{secret, filepath.Join(l.gcRoots(), "x")} {
		os.Chmod(name, 0)
	}
	t.Cleanup(func() {
		for _, name := range []string{secret, filepath.Join(l.gcRoots(), "x"), l.profiles()} {
			os.Chmod(name, 0o755)
		}
	})
	named = filepath.Join(l.stateDir, named)
	asNobody(t, func() {
		if _, err := (&rootSearch{layout: l, tidy: true, strict: true}).permanent(t.Context()); err == nil || !strings.Contains(err.Error(), "'"+named+"'") {
			t.Errorf("a collector has the error %v, which does not name '%s'", err, named)
		}
		var said []string
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
			said = append(said, e.(activity.Log).Text)
		}))
		if _, err := (&rootSearch{layout: l}).permanent(ctx); err != nil || !slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, named) }) {
			t.Errorf("a list logs %q, %v", said, err)
		}
	})
	if !collectionFails {
		return
	}
	if _, err := s.CollectGarbage(t.Context(), deleteAll); err == nil {
		t.Error("garbage was collected")
	}
	if valid, err := s.IsValidPath(t.Context(), kept); !valid || err != nil {
		t.Errorf("the path is valid: %v, %v", valid, err)
	}
}

// A file of temporary roots that may not be read keeps a collector from deleting, and is not listed.
func TestTempRootsOfOthers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a file that another user may not read")
	}
	s := open(t, Options{Root: publicDir(t)})
	if err := s.AddTempRoot(t.Context(), somePath(t, 1)); err != nil {
		t.Fatal(err)
	}
	c, end := beginCollection(t, s.layout)
	asNobody(t, func() {
		if _, err := c.Roots(t.Context()); err == nil || !strings.Contains(err.Error(), rootsFiles(t, s.layout)[0]) {
			t.Errorf("a collector has the error %v", err)
		}
		roots, err := temproots.Find(t.Context(), s.rootsState(), true, func(line string) { t.Error(line) })
		if len(roots) > 0 || err != nil {
			t.Errorf("the list is %v, %v", roots, err)
		}
	})
	end()
}
