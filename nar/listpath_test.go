package nar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pix/nar"
)

// The listing of a path is the listing of its archive, with the same offsets.
func TestListPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(dir, "sub", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{0, 1, 7, 8, 9, 100, 1 << 20} {
		name := filepath.Join(dir, "sub", fmt.Sprintf("file%d", size))
		if err := os.WriteFile(name, bytes.Repeat([]byte{'x'}, size), 0o644|fs.FileMode(i%2)*0o111); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sub/file7", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	filter := &nar.DumpOptions{Filter: func(path string, _ nar.Kind) bool { return path != "sub/file8" }}
	for _, c := range []struct {
		path string
		opts *nar.DumpOptions
	}{{"", nil}, {"", filter}, {"sub/file9", nil}, {"sub/empty", nil}, {"link", nil}} {
		path := filepath.Join(dir, c.path)
		var archive bytes.Buffer
		if err := nar.Dump(t.Context(), &archive, path, c.opts); err != nil {
			t.Fatal(err)
		}
		want, err := nar.ReadListing(&archive)
		if err != nil {
			t.Fatal(err)
		}
		got, err := nar.ListPath(t.Context(), path, c.opts)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ListPath(%s): %+v, %v, want %+v", c.path, got, err, want)
		}
		got, err = nar.ListFS(t.Context(), os.DirFS(dir), filepath.ToSlash(filepath.Clean(c.path)), c.opts)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ListFS(%s): %+v, %v, want %+v", c.path, got, err, want)
		}
	}
}

// The contents are not read: a sparse file of a terabyte is listed at once.
func TestListPathDoesNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1 << 40
	if err := f.Truncate(size); err != nil {
		t.Skipf("the file system has no sparse files: %v", err)
	}
	l, err := nar.ListPath(t.Context(), path, nil)
	if err != nil || l.Size != size || l.Kind != nar.Regular {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestListPathFails(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := nar.ListPath(t.Context(), missing, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing path: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := nar.ListPath(ended, t.TempDir(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}
