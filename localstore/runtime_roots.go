package localstore

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"pix/store"
	"pix/storepath"
)

// findRuntimeRoots returns the paths that running processes use, valid or not, as far as this
// process may see: their programs, working directories, open and mapped files, and what their
// environment names. A link is the file in /proc that tells.
//
// These are names as processes see them, so with a store under a root of its own they are those
// of /nix/store all the same. See findRuntimeRootsUnchecked in Nix's src/libstore/local-gc.cc.
func findRuntimeRoots(ctx context.Context, dir storepath.Dir) ([]store.Root, error) {
	f := runtimeRootFinder{dir: dir, found: make(map[store.Root]bool)}
	if err := f.processes(ctx, "/proc"); err != nil {
		return nil, err
	}
	if runtime.GOOS != "linux" {
		if err := f.lsof(ctx); err != nil {
			return nil, err
		}
	}
	return slices.Collect(maps.Keys(f.found)), nil
}

type runtimeRootFinder struct {
	dir   storepath.Dir
	found map[store.Root]bool
}

// add notes that the file link tells of a name, if that is in the store.
func (f *runtimeRootFinder) add(link, name string) {
	if !isBelow(string(f.dir), name) {
		return
	}
	if path, _, err := f.dir.ParseInside(name); err == nil {
		f.found[store.Root{Link: link, Path: path}] = true
	}
}

// processes looks at all processes that are below proc, and at what the kernel itself runs.
func (f *runtimeRootFinder) processes(ctx context.Context, proc string) error {
	processes, err := os.ReadDir(proc)
	if err := ignoreMissing(err); err != nil {
		return err
	}
	for _, process := range processes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if strings.Trim(process.Name(), "0123456789") != "" {
			continue
		}
		if err := f.process(filepath.Join(proc, process.Name())); err != nil {
			return err
		}
	}
	for _, name := range []string{"modprobe", "fbsplash", "poweroff_cmd"} {
		file := filepath.Join(proc, "sys/kernel", name)
		if text, err := os.ReadFile(file); err == nil {
			f.add(file, string(text))
		} else if !isGone(err) {
			return err
		}
	}
	return nil
}

// process looks at one process. What comes after something unreadable is left out.
func (f *runtimeRootFinder) process(dir string) error {
	err := f.everything(dir)
	if isGone(err) {
		return nil
	}
	return err
}

func (f *runtimeRootFinder) everything(dir string) error {
	for _, name := range []string{"exe", "cwd"} {
		if err := f.link(dir + "/" + name); err != nil {
			return err
		}
	}
	fds := filepath.Join(dir, "fd")
	files, err := os.ReadDir(fds)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := f.link(fds + "/" + file.Name()); err != nil {
			return err
		}
	}
	if err := f.maps(filepath.Join(dir, "maps")); err != nil {
		return err
	}
	return f.environment(filepath.Join(dir, "environ"))
}

func (f *runtimeRootFinder) link(name string) error {
	target, err := os.Readlink(name)
	if err != nil {
		if isGone(err) {
			return nil
		}
		return err
	}
	f.add(name, target)
	return nil
}

// maps reads the mapped files. Their names are the sixth field; one with a space in it, such as that of
// a deleted file, is none to Nix.
func (f *runtimeRootFinder) maps(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	prefix := []byte(f.dir + "/")
	for line := range bytes.Lines(text) {
		if !bytes.Contains(line, prefix) {
			continue
		}
		if fields := bytes.Fields(line); len(fields) == 6 {
			f.add(name, string(fields[5]))
		}
	}
	return nil
}

// environment reads what looks like a store path, wherever it stands.
func (f *runtimeRootFinder) environment(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	prefix := []byte(f.dir + "/")
	for {
		i := bytes.Index(text, prefix)
		if i < 0 {
			return nil
		}
		text = text[i:]
		end := len(prefix)
		for end < len(text) && isNameByte(text[end]) {
			end++
		}
		f.add(name, string(text[:end]))
		text = text[len(prefix):]
	}
}

// isNameByte reports whether a store path may have b in its last component.
func isNameByte(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || strings.IndexByte("+-._?=", b) >= 0
}

// isGone reports whether an error says that a process has ended, or is somebody else's.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ESRCH)
}
