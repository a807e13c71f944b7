package nar_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"pix/nar"
)

func ExampleFS() {
	src := bytes.NewReader(sample)
	listing, err := nar.Index(src, src.Size())
	if err != nil {
		fmt.Println(err)
		return
	}
	contents, err := fs.ReadFile(nar.NewFS(src, listing), "bin/hello2") // a symlink
	fmt.Printf("%q %v\n", contents, err)
	// Output: "#!/bin/sh\necho hello\n" <nil>
}

// openArchive opens an archive as a file system.
func openArchive(t *testing.T, b []byte) *nar.FS {
	t.Helper()
	root, err := nar.Index(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return nar.NewFS(bytes.NewReader(b), root)
}

func TestFS(t *testing.T) {
	fsys := openArchive(t, archive(nar.Magic, dir(
		in("a", dir(in("b", dir(in("c", program("hello")...))...), in("up", link("../x")...))...),
		in("empty", file("")...), in("link", link("a/b/c")...), in("none", dir()...), in("x", file("12345678")...))))
	if err := fstest.TestFS(fsys, "a/b/c", "a/up", "empty", "link", "none", "x"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]fs.FileMode{".": fs.ModeDir | 0o555, "a/b": fs.ModeDir | 0o555, "a/b/c": 0o555, "link": 0o555, "x": 0o444, "a/up": 0o444} {
		if info, err := fs.Stat(fsys, name); err != nil || info.Mode() != want || !info.ModTime().IsZero() {
			t.Errorf("%s: %v, %v, want %v", name, info, err, want)
		}
	}
	if info, err := fs.Lstat(fsys, "link"); err != nil || info.Mode() != fs.ModeSymlink|0o777 || info.Sys().(*nar.Listing).Target != "a/b/c" {
		t.Errorf("link: %v, %v", info, err)
	}
}

func TestFSSymlinks(t *testing.T) {
	fsys := openArchive(t, archive(nar.Magic, dir(
		in("absolute", link("/etc/passwd")...),
		in("d", dir(in("e", dir(in("f", file("found")...))...), in("top", link("..")...))...),
		in("dangling", link("nowhere")...),
		in("d~", link("d/./e//")...),
		in("loop", link("loop")...),
		in("out", link("../x")...),
		in("roundabout", link("d/top/d/top/d~/../e/f")...),
		in("through", link("d~/f")...),
	)))
	for _, name := range []string{"d~/f", "through", "roundabout", "d/top/d/e/f", "d/top/through"} {
		if got, err := fs.ReadFile(fsys, name); err != nil || string(got) != "found" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"absolute": "out of the archive", "out": "out of the archive", "loop": "too many", "dangling": "not exist",
		"d/e/f/g": "not exist", "loop/x": "too many", "d/../d": "invalid", "/d": "invalid", "": "invalid", "\xff": "invalid",
	} {
		_, err := fsys.Open(name)
		var at *fs.PathError
		if !errors.As(err, &at) || at.Path != name || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	if target, err := fsys.ReadLink("loop"); target != "loop" || err != nil {
		t.Errorf("%q, %v", target, err)
	}
	if _, err := fsys.ReadLink("d"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("ReadLink of a directory: %v", err)
	}
}

// The root of an archive may be a file.
func TestFSOfFile(t *testing.T) {
	fsys := openArchive(t, archive(nar.Magic, file("hello")))
	if got, err := fs.ReadFile(fsys, "."); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := fs.ReadDir(fsys, "."); err == nil {
		t.Error("ReadDir accepted a file")
	}
}

// A listing from another source may contain offsets beyond the end of the archive.
func TestFSWithWrongListing(t *testing.T) {
	src := strings.NewReader("0123456789")
	for _, l := range []nar.Listing{
		{Kind: nar.Regular, Offset: 5, Size: 6},
		{Kind: nar.Regular, Offset: 500, Size: 1},
		{Kind: nar.Regular, Offset: 1, Size: 1 << 60},
	} {
		if _, err := fs.ReadFile(nar.NewFS(src, &l), "."); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if _, err := nar.NewFS(src, &nar.Listing{Kind: nar.Regular, Size: 1}).Open("."); err == nil {
		t.Error("Open accepted a file without an offset")
	}
}
