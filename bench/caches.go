package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// A largeFile is a path of a file in the shared world.
type largeFile struct {
	path string // the store path
	host string // the same file for programs outside
}

// largePath returns a path of a file with this number of megabytes. Its contents are programs and their sources, which compress as
// packages do.
func (l *lab) largePath(megabytes int) largeFile {
	if f, ok := l.large[megabytes]; ok {
		return f
	}
	t, w := l.shared, l.sharedWorld()
	name := fmt.Sprintf("/tmp/large-%d", megabytes)
	t.check(fillFile(w.HostPath(name), int64(megabytes)*1e6, w.Root+"/usr", output(t, exec.Command("go", "env", "GOROOT"))))
	path := output(t, w.runPix("--store", "local", "add", name))
	t.check(os.Remove(w.HostPath(name)))
	f := largeFile{path, w.HostPath(path)}
	l.large[megabytes] = f
	return f
}

// fillFile creates a file from the files in directories. It repeats them if they are too small.
func fillFile(name string, size int64, dirs ...string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for left := size; size > 0; left = size {
		for _, dir := range dirs {
			if size, err = appendFiles(f, size, dir); err != nil {
				return err
			}
		}
		if size == left {
			return fmt.Errorf("the directories %q have no files", dirs)
		}
	}
	return f.Close()
}

// appendFiles appends the files in a directory, up to size bytes. It returns how many bytes are missing.
func appendFiles(f *os.File, size int64, dir string) (int64, error) {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || size == 0 {
			return err
		}
		src, err := os.Open(path)
		if err != nil {
			return err
		}
		defer src.Close()
		n, err := io.Copy(f, io.LimitReader(src, size))
		size -= n
		return err
	})
	return size, err
}

// toCache returns contenders that copy a closure to a new cache.
func (w *world) toCache(root, compression string) []contender {
	return []contender{
		w.writer("pix", "cache", func(dir string) *exec.Cmd {
			return w.runPix("copy", "--no-check-sigs", "--from", "local", "--to", "file://"+dir+"?compression="+compression, root)
		}),
		w.writer("Nix", "cache", func(dir string) *exec.Cmd {
			return w.runNix("nix", "copy", "--no-check-sigs", "--to", "file://"+dir+"?compression="+compression, root)
		}),
	}
}

// smallPaths is the number of paths in the rows about small paths.
const smallPaths = 2000

func smallXZRow(l *lab, t *scope) work {
	s := l.store(smallPaths)
	return work{count(s.n) + " paths", s.toCache(s.root, "xz")}
}

func largeXZRow(l *lab, t *scope) work {
	size := l.size(8, 40)
	return work{fmt.Sprint(size, " MB"), l.sharedWorld().toCache(l.largePath(size).path, "xz")}
}

func largeZstdRow(l *lab, t *scope) work {
	size := l.size(100, 300)
	return work{fmt.Sprint(size, " MB"), l.sharedWorld().toCache(l.largePath(size).path, "zstd")}
}

// makeCache copies a closure to a new cache that is removed with the scope, and returns its directory inside.
func (w *world) makeCache(t *scope, name, root, compression string) string {
	dir := "/tmp/" + name
	t.Cleanup(func() { removeTree(w.HostPath(dir)) })
	output(t, w.runPix("copy", "--no-check-sigs", "--from", "local", "--to", "file://"+dir+"?compression="+compression, root))
	return dir
}

func decodeXZRow(l *lab, t *scope) work {
	size := l.size(8, 40)
	w, path := l.sharedWorld(), l.largePath(size).path
	dir := w.makeCache(t, "decoded", path, "xz")
	contenders := []contender{
		program("pix", func(int) *exec.Cmd { return w.runPix("--store", "file://"+dir, "cat", path) }),
		program("Nix", func(int) *exec.Cmd { return w.runNix("nix", "store", "cat", "--store", "file://"+dir, path) }),
	}
	files, err := filepath.Glob(w.HostPath(dir) + "/nar/*.xz")
	t.check(err)
	if xz, err := exec.LookPath("xz"); err != nil {
		t.lacks("xz: %v", err)
	} else {
		contenders = append(contenders, program("xz", func(int) *exec.Cmd { return exec.Command(xz, append([]string{"-dc", "--single-stream"}, files...)...) }))
	}
	return work{fmt.Sprint(size, " MB"), contenders}
}

func hashRow(l *lab, t *scope) work {
	size := l.size(100, 300)
	w, path := l.sharedWorld(), l.largePath(size).path
	return work{fmt.Sprint(size, " MB"), []contender{
		program("pix", func(int) *exec.Cmd { return w.runPix("hash-path", path) }),
		program("Nix", func(int) *exec.Cmd { return w.runNix("nix", "hash", "path", path) }),
	}}
}
