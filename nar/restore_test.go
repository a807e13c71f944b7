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
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pix/internal/testenv"
	"pix/nar"
	"pix/nixhash"
)

func ExampleRestore() {
	dir, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(dir)
	root, _ := os.OpenRoot(dir)
	defer root.Close()

	// Check compares the hash before the result is visible. If it fails, nothing is left.
	expected := nixhash.Sum(nixhash.SHA256, sample)
	hasher := nar.NewHasher(nixhash.SHA256)
	err := nar.Restore(context.Background(), root, "hello", io.TeeReader(bytes.NewReader(sample), hasher), &nar.RestoreOptions{
		Check: func() error {
			if got := hasher.Hash(); got != expected {
				return fmt.Errorf("hash mismatch: got %s instead of %s", got, expected)
			}
			return nil
		},
	})
	contents, _ := root.ReadFile("hello/bin/hello")
	fmt.Printf("%v %q\n", err, contents)
	// Output: <nil> "#!/bin/sh\necho hello\n"
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// names returns the names in a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func dump(t *testing.T, path string, opts *nar.DumpOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := nar.Dump(t.Context(), &b, path, opts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Dumping a restored archive returns the same bytes.
func TestRestoreAndDump(t *testing.T) {
	for what, b := range map[string][]byte{
		"everything": sample,
		"a file":     archive(nar.Magic, file("hello")),
		"a program":  archive(nar.Magic, program("hello")),
		"a symlink":  archive(nar.Magic, link("/nowhere")),
		"a large":    archive(nar.Magic, file(strings.Repeat("0123456789abcdef!", 1<<16))),
		"empty":      archive(nar.Magic, dir()),
		"deep":       depth(63),
		"long names": archive(nar.Magic, dir(in(strings.Repeat("n", 255), dir(in(strings.Repeat("\xf0", 255), link(strings.Repeat("t", 4095))...))...))),
	} {
		dir := t.TempDir()
		if err := nar.Restore(t.Context(), openRoot(t, dir), "x", bytes.NewReader(b), nil); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		equal(t, what, dump(t, filepath.Join(dir, "x"), nil), b)
		if got := names(t, dir); !slices.Equal(got, []string{"x"}) {
			t.Errorf("%s: the directory contains %q", what, got)
		}
	}
}

// dirOfKinds returns a directory with a node of each kind.
func dirOfKinds() []any {
	return dir(
		in("dir", dir(in("file", file("contents")...), in("program", program("run")...))...),
		in("empty", dir()...),
		in("link", link("dir/file")...),
	)
}

// With InPlace, the result is visible before it is complete. After an error nothing is left of
// it, even if it contains read-only directories.
func TestRestoreInPlace(t *testing.T) {
	folder := t.TempDir()
	b := archive(nar.Magic, dirOfKinds())
	opts := &nar.RestoreOptions{InPlace: true, Canonical: true}
	for n := range b {
		seen := false
		opts.Progress = func(nar.RestoreProgress) { seen = true }
		opts.Check = func() error {
			if got := names(t, folder); !slices.Equal(got, []string{"x"}) {
				t.Errorf("during the restore the directory contains %q", got)
			}
			return nil
		}
		err := nar.Restore(t.Context(), openRoot(t, folder), "x", bytes.NewReader(b[:n]), opts)
		if err == nil || seen && len(names(t, folder)) > 0 {
			t.Fatalf("truncated to %d bytes: %v; the directory contains %q", n, err, names(t, folder))
		}
	}
	// The tee receives no bytes after the archive.
	var tee bytes.Buffer
	refused := errors.New("refused")
	opts.Tee = &tee
	opts.Check = func() error { return refused }
	if err := nar.Restore(t.Context(), openRoot(t, folder), "x", bytes.NewReader(append(bytes.Clone(b), "more"...)), opts); err != refused || len(names(t, folder)) > 0 {
		t.Errorf("%v; the directory contains %q", err, names(t, folder))
	}
	equal(t, "the tee", tee.Bytes(), b)
	os.WriteFile(filepath.Join(folder, "x"), nil, 0o666)
	if err := nar.Restore(t.Context(), openRoot(t, folder), "x", bytes.NewReader(b), opts); !errors.Is(err, fs.ErrExist) || len(names(t, folder)) != 1 {
		t.Errorf("over a file: %v, %q", err, names(t, folder))
	}
}

func TestRestoreInSubdirectory(t *testing.T) {
	dir := t.TempDir()
	root := openRoot(t, dir)
	root.Mkdir("sub", 0o777)
	if err := nar.Restore(t.Context(), root, "sub/x", bytes.NewReader(sample), nil); err != nil {
		t.Error(err)
	}
	equal(t, "in a subdirectory", dump(t, filepath.Join(dir, "sub", "x"), nil), sample)
	for _, name := range []string{"", ".", "..", "../x", "/x", "a/", "missing/x", "sub/../../x", "a\x00b"} {
		if err := nar.Restore(t.Context(), root, name, bytes.NewReader(sample), nil); err == nil {
			t.Errorf("Restore accepted the name %q", name)
		}
	}
}

// An archive that is not valid leaves nothing behind.
func TestRestoreLeavesNothing(t *testing.T) {
	check := func(what string, b []byte, want error) {
		t.Helper()
		outer := t.TempDir()
		dir := filepath.Join(outer, "root")
		os.Mkdir(dir, 0o777)
		err := nar.Restore(t.Context(), openRoot(t, dir), "x", bytes.NewReader(b), nil)
		var bad *nar.Error
		if !errors.As(err, &bad) || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want a *nar.Error", what, err)
		}
		if got := append(names(t, dir), names(t, outer)...); len(got) != 1 {
			t.Errorf("%s: the directories contain %q", what, got)
		}
	}
	for _, c := range invalidArchives {
		check(c.what, c.bytes, nil)
	}
	small := archive(nar.Magic, dir(in("a", program("x")...), in("b", dir(in("c", link("d")...))...)))
	for n := range small {
		check(fmt.Sprintf("an archive truncated to %d bytes", n), small[:n], io.ErrUnexpectedEOF)
	}
}

// An archive cannot write through a symlink that it contains: the directory would be a second
// entry of the same name.
func TestRestoreThroughSymlink(t *testing.T) {
	outside := t.TempDir()
	b := archive(nar.Magic, dir(
		in("a", link(outside)...),
		in("a", dir(in("evil", file("evil")...))...),
	))
	inside := t.TempDir()
	if err := nar.Restore(t.Context(), openRoot(t, inside), "x", bytes.NewReader(b), nil); err == nil {
		t.Error("it was restored without an error")
	}
	if got := append(names(t, outside), names(t, inside)...); got != nil {
		t.Errorf("the directories contain %q", got)
	}
}

// If an attacker replaces a directory by a symlink during the restore, nothing is written
// outside of the root.
func TestRestoreWhileDirectoryIsReplaced(t *testing.T) {
	inside, outside := t.TempDir(), t.TempDir()
	b := archive(nar.Magic, dir(in("a", dir(in("1", file("x")...), in("2", dir(in("3", file("x")...))...))...)))
	nar.Restore(t.Context(), openRoot(t, inside), "x", bytes.NewReader(b), &nar.RestoreOptions{
		Progress: func(p nar.RestoreProgress) {
			hidden := names(t, inside)
			if len(hidden) == 1 && p.Entries == 2 {
				a := filepath.Join(inside, hidden[0], "a")
				if err := errors.Join(os.Rename(a, a+"~"), os.Symlink(outside, a)); err != nil {
					t.Error(err)
				}
			}
		},
	})
	if got := names(t, outside); got != nil {
		t.Errorf("outside of the root: %q", got)
	}
}

func TestRestoreOverExisting(t *testing.T) {
	archives := map[string][]byte{"directory": sample, "file": archive(nar.Magic, file("new")), "symlink": archive(nar.Magic, link("new"))}
	obstacles := map[string]func(path string) error{
		"a file":            func(path string) error { return os.WriteFile(path, []byte("old"), 0o666) },
		"a directory":       func(path string) error { return os.Mkdir(path, 0o777) },
		"a full directory":  func(path string) error { return os.MkdirAll(filepath.Join(path, "sub"), 0o777) },
		"a dangling link":   func(path string) error { return os.Symlink("nowhere", path) },
		"a symlink to root": func(path string) error { return os.Symlink(".", path) },
	}
	for kind, b := range archives {
		for what, create := range obstacles {
			for _, late := range []bool{false, true} {
				dir := t.TempDir()
				path := filepath.Join(dir, "x")
				place := func() {
					if err := create(path); err != nil {
						t.Fatal(err)
					}
				}
				opts := &nar.RestoreOptions{}
				if late { // just before it is complete
					opts.Check = func() error { place(); return nil }
				} else {
					place()
				}
				err := nar.Restore(t.Context(), openRoot(t, dir), "x", bytes.NewReader(b), opts)
				if !errors.Is(err, fs.ErrExist) {
					t.Errorf("a %s over %s: %v, want fs.ErrExist", kind, what, err)
				}
				if got := names(t, dir); !slices.Equal(got, []string{"x"}) {
					t.Errorf("a %s over %s: the directory contains %q", kind, what, got)
				}
				if info, err := os.Lstat(path); err != nil || info.Size() == 3 && info.Mode().IsRegular() && string(must(os.ReadFile(path))) != "old" {
					t.Errorf("a %s over %s: the latter is now %v, %v", kind, what, info, err)
				}
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestRestoreIntoReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	root := openRoot(t, dir)
	os.Chmod(dir, 0o555)
	defer os.Chmod(dir, 0o777)
	err := nar.Restore(t.Context(), root, "x", bytes.NewReader(sample), nil)
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v, want fs.ErrPermission", err)
	}
}

func TestRestoreCheckFails(t *testing.T) {
	dir := t.TempDir()
	wrong := errors.New("wrong hash")
	seen := false
	err := nar.Restore(t.Context(), openRoot(t, dir), "x", bytes.NewReader(sample), &nar.RestoreOptions{Check: func() error {
		_, err := os.Lstat(filepath.Join(dir, "x"))
		seen = err == nil
		return wrong
	}})
	if !errors.Is(err, wrong) || seen || len(names(t, dir)) != 0 {
		t.Errorf("%v, visible before Check: %v, left: %q", err, seen, names(t, dir))
	}
}

func TestRestoreCancelled(t *testing.T) {
	testenv.NoLeak(t)
	cause := errors.New("the user pressed a key")
	large := archive(nar.Magic, dir(in("a", file("x")...), in("b", file(strings.Repeat("x", 3<<20))...), in("c", file("x")...)))
	for at := range 8 {
		dir := t.TempDir()
		ctx, cancel := context.WithCancelCause(t.Context())
		calls := 0
		err := nar.Restore(ctx, openRoot(t, dir), "x", bytes.NewReader(large), &nar.RestoreOptions{Progress: func(nar.RestoreProgress) {
			if calls++; calls > at {
				cancel(cause)
			}
		}})
		if !errors.Is(err, cause) {
			t.Errorf("cancelled at call %d: %v", at, err)
		}
		if calls > at+1 {
			t.Errorf("cancelled at call %d, but there were %d", at, calls)
		}
		if got := names(t, dir); len(got) != 0 {
			t.Errorf("cancelled at call %d: the directory contains %q", at, got)
		}
	}
}

func TestRestorePanic(t *testing.T) {
	dir := t.TempDir()
	func() {
		defer func() { recover() }()
		nar.Restore(t.Context(), openRoot(t, dir), "x", bytes.NewReader(sample), &nar.RestoreOptions{Progress: func(nar.RestoreProgress) { panic("boom") }})
		t.Error("Restore did not panic")
	}()
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("the directory contains %q", got)
	}
}

func TestRestoreProgress(t *testing.T) {
	var last nar.RestoreProgress
	err := nar.Restore(t.Context(), openRoot(t, t.TempDir()), "x", iotest.HalfReader(bytes.NewReader(sample)), &nar.RestoreOptions{
		Progress: func(p nar.RestoreProgress) {
			if p.Entries < last.Entries || p.Bytes < last.Bytes {
				t.Errorf("%v after %v", p, last)
			}
			last = p
		},
	})
	if want := (nar.RestoreProgress{Entries: 9, Bytes: 21 + 23 + 1000 + 8}); err != nil || last != want {
		t.Errorf("%+v, %v, want %+v", last, err, want)
	}
}

// Restore closes all directories that it opens.
func TestRestoreClosesDirectories(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("open files are counted in /proc")
	}
	before := len(names(t, "/proc/self/fd"))
	root := openRoot(t, t.TempDir())
	for i := range 20 {
		if err := nar.Restore(t.Context(), root, fmt.Sprint(i), bytes.NewReader(depth(63)), nil); err != nil {
			t.Fatal(err)
		}
		nar.Restore(t.Context(), root, "broken", bytes.NewReader(depth(63)[:9000]), nil)
	}
	if after := len(names(t, "/proc/self/fd")); after > before+2 {
		t.Errorf("%d files are open, before there were %d", after, before)
	}
}

func TestCaseHack(t *testing.T) {
	b := archive(nar.Magic, dir(
		in("A", file("1")...), in("B", file("2")...), in("a", file("3")...),
		in("sub", dir(in("X", file("4")...), in("x", file("5")...))...),
		in("Ä", file("6")...), in("ä", file("7")...), // only A-Z are folded, as in Nix
	))
	dir := t.TempDir()
	if err := nar.Restore(t.Context(), openRoot(t, dir), "x", bytes.NewReader(b), &nar.RestoreOptions{CaseHack: true}); err != nil {
		t.Fatal(err)
	}
	want := []string{"A", "B", "a~nix~case~hack~1", "sub", "Ä", "ä"}
	if got := names(t, filepath.Join(dir, "x")); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	equal(t, "dumped again", dump(t, filepath.Join(dir, "x"), &nar.DumpOptions{CaseHack: true}), b)

	// Two files with the same name in the archive.
	os.WriteFile(filepath.Join(dir, "x", "B~nix~case~hack~7"), nil, 0o666)
	err := nar.Dump(t.Context(), io.Discard, filepath.Join(dir, "x"), &nar.DumpOptions{CaseHack: true})
	if err == nil || !strings.Contains(err.Error(), "same name") {
		t.Errorf("a collision: %v", err)
	}
	// The first suffix counts, and the text before it must be a valid name.
	os.Remove(filepath.Join(dir, "x", "B~nix~case~hack~7"))
	os.Rename(filepath.Join(dir, "x", "a~nix~case~hack~1"), filepath.Join(dir, "x", "a~nix~case~hack~1~nix~case~hack~2"))
	equal(t, "with two suffixes", dump(t, filepath.Join(dir, "x"), &nar.DumpOptions{CaseHack: true}), b)
	os.WriteFile(filepath.Join(dir, "x", "~nix~case~hack~7"), nil, 0o666)
	if err := nar.Dump(t.Context(), io.Discard, filepath.Join(dir, "x"), &nar.DumpOptions{CaseHack: true}); err == nil {
		t.Error("a name that consists of a suffix was dumped")
	}

	collision := archive(nar.Magic, in2("A", "A~NIX~CASE~HACK~1", "a"))
	err = nar.Restore(t.Context(), openRoot(t, dir), "y", bytes.NewReader(collision), &nar.RestoreOptions{CaseHack: true})
	if err == nil || !strings.Contains(err.Error(), "exists too") {
		t.Errorf("the name from the case hack exists: %v", err)
	}
}

// in2 returns a directory of empty files.
func in2(names ...string) []any {
	var entries [][]any
	for _, n := range names {
		entries = append(entries, in(n, file("")...))
	}
	return dir(entries...)
}

// The path in an error includes the name of the root.
func TestRestoreErrorPath(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.Mkdir("there", 0o700); err != nil {
		t.Fatal(err)
	}
	err = nar.Restore(t.Context(), root, "there", bytes.NewReader(sample), nil)
	if at, ok := errors.AsType[*fs.PathError](err); !ok || at.Path != filepath.Join(dir, "there") {
		t.Errorf("%v", err)
	}
}
