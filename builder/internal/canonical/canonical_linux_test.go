package canonical

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pix/nar"
)

// makeCanonical makes the file of that name in dir canonical.
func makeCanonical(t *testing.T, dir, name string, opts *Options) error {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return New(opts).Tree(t.Context(), d, name)
}

// Every mode becomes a mode of store objects, even if a directory has no permissions.
func TestModes(t *testing.T) {
	dir := t.TempDir()
	top := filepath.Join(dir, "top")
	for _, sub := range []string{"readable", "unreadable"} {
		if err := os.MkdirAll(filepath.Join(top, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]uint32{"": 0o40555, "readable": 0o40555, "unreadable": 0o40555, "unreadable/link": 0o120777}
	for _, mode := range []uint32{0, 0o100, 0o010, 0o444, 0o555, 0o640, 0o777, 0o4755, 0o2755, 0o1777} {
		for _, sub := range []string{"readable", "unreadable"} {
			name := filepath.Join(sub, fmt.Sprintf("f%o", mode))
			file := filepath.Join(top, name)
			if err := errors.Join(os.WriteFile(file, nil, 0o600), unix.Chmod(file, mode)); err != nil {
				t.Fatal(err)
			}
			want[name] = 0o100444
			if mode&0o100 != 0 {
				want[name] = 0o100555
			}
		}
	}
	if err := errors.Join(os.Symlink("/nowhere", filepath.Join(top, "unreadable/link")), os.Chmod(filepath.Join(top, "unreadable"), 0)); err != nil {
		t.Fatal(err)
	}
	if err := makeCanonical(t, dir, "top", &Options{}); err != nil {
		t.Fatal(err)
	}
	for name, mode := range want {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(top, name), &st); err != nil || st.Mode != mode || st.Mtim != (unix.Timespec{Sec: 1}) {
			t.Errorf("%s has mode %o and time %v, %v; want %o", name, st.Mode, st.Mtim, err, mode)
		}
	}
	os.Chmod(top, 0o755) // so that the test can remove it
	for _, sub := range []string{"readable", "unreadable"} {
		os.Chmod(filepath.Join(top, sub), 0o755)
	}
}

// What cannot be an object is named.
func TestRejections(t *testing.T) {
	dir := t.TempDir()
	deep := strings.Repeat("d/", nar.MaxDepth)
	if err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "deep", deep), 0o755),
		os.Mkdir(filepath.Join(dir, "odd"), 0o755), unix.Mkfifo(filepath.Join(dir, "odd/fifo"), 0o644),
		os.WriteFile(filepath.Join(dir, "foreign"), nil, 0o644),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for name := filepath.Join(dir, "deep"); os.Chmod(name, 0o755) == nil; name += "/d" {
		}
		os.Chmod(filepath.Join(dir, "odd"), 0o755)
	})
	for _, test := range []struct {
		name, file, reason string
		opts               Options
	}{
		{"deep", "deep/" + strings.TrimSuffix(deep, "/"), tooDeep, Options{}},
		{"odd", "odd/fifo", unsupportedType, Options{}},
		{"foreign", "foreign", invalidOwnership, Options{FirstUser: os.Getuid() + 1, Users: 10}},
	} {
		rejection, ok := errors.AsType[*Rejection](makeCanonical(t, dir, test.name, &test.opts))
		if !ok || rejection.Reason != test.reason || rejection.File != filepath.Join(dir, test.file) {
			t.Errorf("%s: %v", test.name, rejection)
		}
	}
}

// The end of the context ends a walk.
func TestCancelled(t *testing.T) {
	dir := t.TempDir()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := New(&Options{}).Tree(ctx, d, "."); err != why {
		t.Error(err)
	}
}
