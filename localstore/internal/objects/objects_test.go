package objects

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/flock"
	"pix/internal/testenv"
	"pix/nixhash"
)

// checkObject checks the mode and the time of a file or directory of an object.
func checkObject(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != mode || !info.ModTime().Equal(Time) {
		t.Errorf("%s: mode %v, time %v", filepath.Base(name), info.Mode(), info.ModTime())
	}
}

// newTree creates an object that is a directory with one file.
func newTree(t *testing.T, name, contents string) {
	t.Helper()
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(CreateFile(name+"/file", []byte(contents)), os.Chmod(name, 0o555), setTime(name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Remove(name) })
}

// New files have the mode and the time of an object under every umask.
func TestCreateFile(t *testing.T) {
	testenv.UnderUmasks(t, func(t *testing.T) {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		h := nixhash.SHA256.New()
		if err := errors.Join(CreateFile(dir+"/small", []byte("text")), WriteFile(root, "large", strings.NewReader("text"), h)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"small", "large"} {
			checkObject(t, filepath.Join(dir, name), 0o444)
			if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != "text" {
				t.Error(name, got, err)
			}
		}
		if got, want := nixhash.FromHash(nixhash.SHA256, h), nixhash.Sum(nixhash.SHA256, []byte("text")); got != want {
			t.Error(got)
		}
		if err := CreateFile(dir+"/small", nil); !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
		if got, _ := os.ReadFile(dir + "/small"); string(got) != "text" {
			t.Errorf("the existing file was changed to %q", got)
		}
	})
}

// If the contents cannot be read to the end, WriteFile leaves no file.
func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := WriteFile(root, "x", failingReader{}, nixhash.SHA256.New()); err != errFailed {
		t.Error(err)
	}
	if names, err := os.ReadDir(dir); len(names) > 0 || err != nil {
		t.Error(names, err)
	}
}

var errFailed = errors.New("failed")

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errFailed }

// A moved directory keeps the mode and the time of an object. Move does not replace an existing object.
func TestMove(t *testing.T) {
	dir := t.TempDir()
	from, to, other := filepath.Join(dir, "from"), filepath.Join(dir, "sub", "to"), filepath.Join(dir, "other")
	if err := os.Mkdir(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	newTree(t, from, "first")
	newTree(t, other, "second")
	if err := Move(from, to); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Remove(to) })
	checkObject(t, to, 0o555)
	if err := Move(other, to); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	checkObject(t, other, 0o555)
}

// Exchange replaces an object, and works if the other name does not exist.
func TestExchange(t *testing.T) {
	dir := t.TempDir()
	first, second, aside := filepath.Join(dir, "first"), filepath.Join(dir, "second"), filepath.Join(dir, "aside")
	newTree(t, first, "first")
	newTree(t, second, "second")
	if err := Exchange(first, second, aside); err != nil {
		t.Fatal(err)
	}
	checkObject(t, second, 0o555)
	if got, err := os.ReadFile(second + "/file"); string(got) != "first" {
		t.Errorf("%q, %v", got, err)
	}
	if err := Remove(first); err != nil {
		t.Fatal(err)
	}
	if err := Exchange(second, first, aside); err != nil {
		t.Fatal(err)
	}
	checkObject(t, first, 0o555)
}

// The state of an object changes with its contents, even if the new contents have the same size and time.
func TestStateOf(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	newTree(t, name, "one")
	if got := StateOf(name, time.Now()); got != (State{}) {
		t.Error("a file that was changed just now has a state")
	}
	later := time.Now().Add(time.Minute)
	before := StateOf(name, later)
	if before == (State{}) || before != StateOf(name, later) {
		t.Errorf("an object that does not change has the states %x and %x", before, StateOf(name, later))
	}
	time.Sleep(20 * time.Millisecond) // a tick of the kernel's clock
	if err := errors.Join(os.Chmod(name+"/file", 0o644), os.WriteFile(name+"/file", []byte("two"), 0), os.Chmod(name+"/file", 0o444), setTime(name+"/file")); err != nil {
		t.Fatal(err)
	}
	if StateOf(name, later) == before {
		t.Error("the state does not show that a file was changed")
	}
}

// TryLockDir reports whether another process uses a directory, and does not open a pipe.
func TestTryLockDir(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	used, free, pipe := filepath.Join(dir.Name(), "used"), filepath.Join(dir.Name(), "free"), filepath.Join(dir.Name(), "pipe")
	if err := errors.Join(os.Mkdir(used, 0o700), os.Mkdir(free, 0o700), unix.Mkfifo(pipe, 0o600)); err != nil {
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
	for name, want := range map[string]bool{"used": false, "free": true, "pipe": true, "missing": false} {
		locked, unlock, err := TryLockDir(dir, name)
		if locked != want || err != nil {
			t.Errorf("%s: %v, %v", name, locked, err)
		}
		if locked {
			unlock()
		}
	}
}
