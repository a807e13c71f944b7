package nar_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pix/nar"
)

// From each offset, DumpFrom writes the rest of the archive.
func TestDumpFrom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 5, 8, 300} {
		name := filepath.Join(dir, "sub", fmt.Sprintf("file%d", size))
		if err := os.WriteFile(name, bytes.Repeat([]byte("0123456789"), size)[:size], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sub", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if err := nar.Dump(t.Context(), &whole, dir, nil); err != nil {
		t.Fatal(err)
	}
	for offset := range whole.Len() + 1 {
		var rest bytes.Buffer
		err := nar.DumpFrom(t.Context(), &rest, dir, int64(offset), nil)
		if err != nil || !bytes.Equal(rest.Bytes(), whole.Bytes()[offset:]) {
			t.Fatalf("from %d: %d bytes, %v", offset, rest.Len(), err)
		}
	}
	for _, offset := range []int64{-1, int64(whole.Len()) + 1} {
		var rest bytes.Buffer
		if err := nar.DumpFrom(t.Context(), &rest, dir, offset, nil); !errors.Is(err, nar.ErrOffset) || rest.Len() > 0 {
			t.Errorf("from %d: %d bytes, %v", offset, rest.Len(), err)
		}
	}
}

// The contents before the offset are not read: the end of a sparse file of a terabyte is written at once. A file of
// several chunks is written from its middle.
func TestDumpFromLarge(t *testing.T) {
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
	contents := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	if _, err := f.WriteAt(contents, size-int64(len(contents))); err != nil {
		t.Fatal(err)
	}
	l, err := nar.ListPath(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var rest bytes.Buffer
	start := l.Offset + size - int64(len(contents)) + 5
	if err := nar.DumpFrom(t.Context(), &rest, path, start, nil); err != nil || !bytes.HasPrefix(rest.Bytes(), contents[5:]) || rest.Len() > len(contents)+11 {
		t.Errorf("%d bytes, %v", rest.Len(), err)
	}
}
