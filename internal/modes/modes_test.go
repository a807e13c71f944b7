package modes_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"pix/internal/modes"
	"pix/internal/testenv"
)

func TestMkdirAll(t *testing.T) {
	testenv.UnderUmasks(t, func(t *testing.T) {
		top := t.TempDir()
		private, shared := filepath.Join(top, "private"), filepath.Join(top, "shared")
		if err := errors.Join(os.Mkdir(private, 0o700), os.Mkdir(shared, 0o700), os.Chmod(shared, 0o770|fs.ModeSetgid)); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{private, private + "/a/b", private + "/a/b/", shared + "/a/b"} {
			if err := modes.MkdirAll(dir); err != nil {
				t.Errorf("%s: %v", dir, err)
			}
		}
		got := testenv.Modes(t, top)
		delete(got, ".")
		want := map[string]string{
			"private": "d0700", "private/a": "d0755", "private/a/b": "d0755",
			"shared": "d2770", "shared/a": "d2755", "shared/a/b": "d2755",
		}
		if !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestMkdirAllOverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, file + "/a"} {
		if err := modes.MkdirAll(dir); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	dangling := filepath.Join(t.TempDir(), "dangling")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	if err := modes.MkdirAll(dangling); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a dangling symlink: %v", err)
	}
}
