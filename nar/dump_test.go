package nar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pix/internal/parallel"
	"pix/internal/testenv"
	"pix/nar"
	"pix/nixhash"
)

func ExampleHashPath() {
	dir, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(dir)
	os.WriteFile(filepath.Join(dir, "hello"), []byte("hello\n"), 0o666)

	hash, size, err := nar.HashPath(context.Background(), dir, nixhash.SHA256, nil)
	fmt.Println(hash.SRI(), size, err)
	// Output: sha256-8rZj4G7p7f80xdR6Es9zkss4jol73O52CI0Xc1P5/t0= 288 <nil>
}

func ExampleDumpFS() {
	fsys := fstest.MapFS{"hello": {Data: []byte("hello\n")}}
	hasher := nar.NewHasher(nixhash.SHA256)
	err := nar.DumpFS(context.Background(), hasher, fsys, ".", nil)
	fmt.Println(hasher.Hash().SRI(), hasher.Size(), err)
	// Output: sha256-8rZj4G7p7f80xdR6Es9zkss4jol73O52CI0Xc1P5/t0= 288 <nil>
}

// The sizes are close to multiples of chunks and words.
func TestDumpSizes(t *testing.T) {
	const chunk = 256 << 10
	dirPath := t.TempDir()
	for _, size := range []int{0, 1, 7, 8, 9, chunk - 105, chunk - 104, chunk - 103, chunk, chunk + 1, 3*chunk - 104, 3 * chunk} {
		path := filepath.Join(dirPath, "f")
		contents := bytes.Repeat([]byte("01234567x"), size/9+1)[:size]
		os.WriteFile(path, contents, 0o666)
		want := archive(nar.Magic, file(string(contents)))
		equal(t, fmt.Sprintf("a file of %d bytes", size), dump(t, path, nil), want)
		hash, n, err := nar.HashPath(t.Context(), path, nixhash.SHA512, nil)
		if err != nil || n != uint64(len(want)) || hash != nixhash.Sum(nixhash.SHA512, want) {
			t.Errorf("a file of %d bytes: %v, %d, %v", size, hash, n, err)
		}
	}
}

// The names in the directory do not fit into one buffer of getdents.
func TestDumpManyFiles(t *testing.T) {
	path := t.TempDir()
	var want [][]any
	for i := range 3000 {
		name := fmt.Sprintf("%04d%s", i, strings.Repeat("n", i%200))
		os.WriteFile(filepath.Join(path, name), []byte(name), 0o666)
		want = append(want, in(name, file(name)...))
	}
	equal(t, "many files", dump(t, path, nil), archive(nar.Magic, dir(want...)))
}

func TestDumpSparse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Truncate(1 << 20)
	f.WriteAt([]byte("x"), 500_000)
	f.Close()
	contents := make([]byte, 1<<20)
	contents[500_000] = 'x'
	equal(t, "a sparse file", dump(t, path, nil), archive(nar.Magic, file(string(contents))))
}

// Only the execute bit of the owner counts, and only for files.
func TestDumpExecutable(t *testing.T) {
	for mode, executable := range map[fs.FileMode]bool{0o400: false, 0o500: true, 0o411: false, 0o744: true} {
		path := filepath.Join(t.TempDir(), "f")
		os.WriteFile(path, nil, 0o600)
		os.Chmod(path, mode)
		want := file("")
		if executable {
			want = program("")
		}
		equal(t, mode.String(), dump(t, path, nil), archive(nar.Magic, want))
	}
}

// The path itself may be a symlink, even with a slash after it.
func TestDumpSymlink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "l")
	os.Symlink(dir, path)
	for _, p := range []string{path, path + "/", path + "/."} {
		equal(t, p, dump(t, p, nil), archive(nar.Magic, link(dir)))
	}
}

func TestDumpRelative(t *testing.T) {
	dirPath := t.TempDir()
	t.Chdir(dirPath)
	os.MkdirAll("sub/sub", 0o777)
	want := archive(nar.Magic, dir(in("sub", dir(in("sub", dir()...))...)))
	for _, p := range []string{".", "./", "sub/..", dirPath + "//"} {
		equal(t, p, dump(t, p, nil), want)
	}
}

func TestDumpFilter(t *testing.T) {
	path := t.TempDir()
	if err := os.CopyFS(path, fstest.MapFS{"a/b/c": {}, "a/skip/x": {}, "b": {}, "skip": {}}); err != nil {
		t.Fatal(err)
	}
	os.Symlink("x", filepath.Join(path, "l"))
	var calls []string
	got := dump(t, path, &nar.DumpOptions{Filter: func(path string, kind nar.Kind) bool {
		calls = append(calls, path+" "+kind.String())
		return filepath.Base(path) != "skip"
	}})
	equal(t, "filtered", got, archive(nar.Magic, dir(
		in("a", dir(in("b", dir(in("c", file("")...))...))...), in("b", file("")...), in("l", link("x")...))))
	want := "a directory,a/b directory,a/b/c regular,a/skip directory,b regular,l symlink,skip regular"
	if strings.Join(calls, ",") != want {
		t.Errorf("the filter was called for %q, want %q", calls, want)
	}
}

func TestDumpErrors(t *testing.T) {
	testenv.NoLeak(t)
	path := t.TempDir()
	deep := filepath.Join(path, "deep")
	os.MkdirAll(deep+strings.Repeat("/d", 63), 0o777)
	for what, c := range map[string]struct {
		path, at string
		want     error
		text     string
	}{
		"a missing file": {filepath.Join(path, "missing"), "missing", fs.ErrNotExist, ""},
		"too deep below": {path, "deep" + strings.Repeat("/d", 63), nil, "63 directories deep"},
	} {
		var b bytes.Buffer
		err := nar.Dump(t.Context(), &b, c.path, nil)
		var at *fs.PathError
		if !errors.As(err, &at) || at.Path != filepath.Join(path, c.at) || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A tree that is one level less deep is allowed.
	if err := nar.Dump(t.Context(), io.Discard, deep, nil); err != nil {
		t.Error(err)
	}
}

// A growingFS contains a file f that reports a size smaller than its contents by a number of
// bytes.
type growingFS struct {
	fstest.MapFS
	by int
}

func (g growingFS) Open(name string) (fs.File, error) {
	f, err := g.MapFS.Open(name)
	if err == nil && name == "f" {
		return growingFile{f, g.by}, nil
	}
	return f, err
}

type growingFile struct {
	fs.File
	by int
}

func (f growingFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return growingInfo{info, f.by}, err
}

type growingInfo struct {
	fs.FileInfo
	by int
}

func (i growingInfo) Size() int64 { return i.FileInfo.Size() - int64(i.by) }

func TestDumpChangingSize(t *testing.T) {
	testenv.NoLeak(t)
	for _, size := range []int{1, 8, 1000, 256<<10 - 104, 1 << 20} {
		for _, by := range []int{-1, 0, 1, size} {
			fsys := growingFS{fstest.MapFS{"f": {Data: make([]byte, size)}}, by}
			err := nar.DumpFS(t.Context(), io.Discard, fsys, ".", nil)
			if by == 0 && err != nil || by != 0 && !errors.Is(err, nar.ErrFileChanged) {
				t.Errorf("a file of %d bytes that grew by %d: %v", size, by, err)
			}
		}
	}
}

// A changingWriter lets the reading half run ahead, and then calls change.
type changingWriter struct {
	change func()
	n      int
}

func (w *changingWriter) Write(p []byte) (int, error) {
	if w.n++; w.n == 1 {
		time.Sleep(50 * time.Millisecond)
		w.change()
	}
	return len(p), nil
}

// A real file changes during the dump. It is larger than the chunks that are read ahead.
func TestDumpFileThatChanges(t *testing.T) {
	for _, to := range []int64{10 << 20, 40 << 20} {
		path := filepath.Join(t.TempDir(), "f")
		os.WriteFile(path, nil, 0o666)
		os.Truncate(path, 20<<20)
		err := nar.Dump(t.Context(), &changingWriter{change: func() { os.Truncate(path, to) }}, path, nil)
		if !errors.Is(err, nar.ErrFileChanged) {
			t.Errorf("a file of 20 MiB that became one of %d MiB: %v", to>>20, err)
		}
	}
}

func largeTree(t *testing.T) string {
	t.Helper()
	path := t.TempDir()
	for i := range 20 {
		p := filepath.Join(path, fmt.Sprint(i))
		os.WriteFile(p, nil, 0o666)
		os.Truncate(p, 1<<20)
	}
	return path
}

// If the destination fails, the reading half ends, and Dump returns the error.
func TestDumpToBrokenWriter(t *testing.T) {
	testenv.NoLeak(t)
	path := largeTree(t)
	boom := errors.New("boom")
	for _, left := range []int{0, 1 << 20, 5 << 20} {
		if err := nar.Dump(t.Context(), &limitedWriter{left, boom}, path, nil); err != boom {
			t.Errorf("%v, want %v", err, boom)
		}
	}
}

type funcWriter func(p []byte) (int, error)

func (f funcWriter) Write(p []byte) (int, error) { return f(p) }

func TestDumpCancelled(t *testing.T) {
	testenv.NoLeak(t)
	path := largeTree(t)
	cause := errors.New("the user pressed a key")
	for at := range 5 {
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		err := nar.Dump(ctx, funcWriter(func(p []byte) (int, error) {
			if n++; n > at {
				cancel(cause)
			}
			return len(p), nil
		}), path, nil)
		if !errors.Is(err, cause) {
			t.Errorf("cancelled at write %d: %v", at, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := nar.HashPath(ctx, path, nixhash.SHA256, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
}

// A panic in code of the caller arrives at the caller, from both halves.
func TestDumpPanics(t *testing.T) {
	testenv.NoLeak(t)
	path := largeTree(t)
	for what, call := range map[string]func(){
		"the filter": func() {
			nar.Dump(t.Context(), io.Discard, path, &nar.DumpOptions{Filter: func(path string, _ nar.Kind) bool { panic("boom") }})
		},
		"the writer": func() {
			nar.Dump(t.Context(), funcWriter(func([]byte) (int, error) { panic("boom") }), path, nil)
		},
	} {
		func() {
			defer func() {
				r := recover()
				if p, ok := r.(*parallel.PanicError); ok { // from another goroutine
					r = p.Value
				}
				if r != "boom" {
					t.Errorf("%s panicked, and Dump panicked with %v", what, r)
				}
			}()
			call()
		}()
	}
}

// If a filter calls runtime.Goexit, Dump ends the goroutine of the caller instead of returning
// success for half an archive.
func TestDumpExits(t *testing.T) {
	testenv.NoLeak(t)
	path := largeTree(t)
	returned := false
	done := make(chan bool)
	go func() {
		defer close(done)
		nar.Dump(t.Context(), io.Discard, path, &nar.DumpOptions{Filter: func(string, nar.Kind) bool { runtime.Goexit(); return true }})
		returned = true
	}()
	if <-done; returned {
		t.Error("Dump returned")
	}
}

// Concurrent dumps do not share state.
func TestDumpConcurrently(t *testing.T) {
	path := largeTree(t)
	want, _, err := nar.HashPath(t.Context(), path, nixhash.SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for range 4 {
		go func() {
			got, _, err := nar.HashPath(context.Background(), path, nixhash.SHA256, nil)
			if err == nil && got != want {
				err = fmt.Errorf("%v, want %v", got, want)
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Dumping an archive that is opened as a file system returns the same archive.
func TestDumpFSOfArchive(t *testing.T) {
	utf8Only := archive(nar.Magic, dir(
		in("bin", dir(in("hello", program("#!/bin/sh\n")...), in("l", link("hello")...))...),
		in("dangling", link("/nowhere")...), in("empty", file("")...), in("none", dir()...)))
	root, err := nar.Index(bytes.NewReader(utf8Only), int64(len(utf8Only)))
	if err != nil {
		t.Fatal(err)
	}
	fsys := nar.NewFS(bytes.NewReader(utf8Only), root)
	for name, want := range map[string][]byte{
		".":         utf8Only,
		"bin/hello": archive(nar.Magic, program("#!/bin/sh\n")),
		"bin/l":     archive(nar.Magic, link("hello")),
	} {
		var got bytes.Buffer
		if err := nar.DumpFS(t.Context(), &got, fsys, name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		equal(t, name, got.Bytes(), want)
	}
	if err := nar.DumpFS(t.Context(), io.Discard, fsys, "missing", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	device := fstest.MapFS{"d": {Mode: fs.ModeDevice}}
	if err := nar.DumpFS(t.Context(), io.Discard, device, ".", nil); !errors.Is(err, nar.ErrFileType) {
		t.Errorf("a device: %v", err)
	}
}
