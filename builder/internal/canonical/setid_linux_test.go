package canonical

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func clearSetID(t *testing.T, dir string, opts *Options) error {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return New(opts).ClearSetID(d)
}

// ClearSetID clears the bits of everything below a directory, and follows no symlink.
func TestClearSetID(t *testing.T) {
	top := t.TempDir()
	outside, dir := filepath.Join(top, "outside"), filepath.Join(top, "dir")
	sub := filepath.Join(dir, "sub")
	if err := errors.Join(os.WriteFile(outside, nil, 0o755), unix.Chmod(outside, 0o4755), os.MkdirAll(sub, 0o755), os.Symlink(outside, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	modes := map[string]uint32{"dir/suid": 0o4755, "dir/sub/sgid": 0o2711, "dir/sub/both": 0o6000, "dir/sub": 0o2311, "dir/plain": 0o640}
	for _, name := range []string{"dir/suid", "dir/sub/sgid", "dir/sub/both", "dir/plain"} {
		if err := os.WriteFile(filepath.Join(top, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dir/suid", "dir/sub/sgid", "dir/sub/both", "dir/plain", "dir/sub"} {
		if err := unix.Chmod(filepath.Join(top, name), modes[name]); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 { // as if the files belonged to a user that is not one of the build
		if err := clearSetID(t, dir, &Options{FirstUser: 12345, Users: 1}); err != nil {
			t.Error(err)
		}
		if info, err := os.Lstat(filepath.Join(dir, "suid")); err != nil || info.Mode()&fs.ModeSetuid == 0 {
			t.Errorf("the mode of a file of another user was changed to %v, %v", info.Mode(), err)
		}
	}
	if err := clearSetID(t, dir, &Options{}); err != nil {
		t.Fatal(err)
	}
	for name, mode := range modes {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(top, name), &st); err != nil || st.Mode&^unix.S_IFMT&^0o500 != mode&^setID&^0o500 {
			t.Errorf("%s: mode %o became %o, %v", name, mode, st.Mode, err)
		}
	}
	if info, err := os.Stat(outside); err != nil || info.Mode()&fs.ModeSetuid == 0 {
		t.Errorf("a symlink was followed: %v, %v", info.Mode(), err)
	}
}

// A tree that is too deep is refused, before it uses up the descriptors of the process.
func TestClearSetIDTooDeep(t *testing.T) {
	dir := t.TempDir()
	deepest := filepath.Join(dir, strings.Repeat("d/", maxKeptDepth-1))
	if err := os.MkdirAll(deepest, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := clearSetID(t, dir, &Options{}); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(deepest, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := clearSetID(t, dir, &Options{}); err == nil || !strings.HasSuffix(err.Error(), "there are too many levels of directories") {
		t.Error(err)
	}
}
