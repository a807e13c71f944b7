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

	"pix/localstore/internal/objects"
	"pix/store"
	"pix/storepath"
)

// runtime returns the paths that running processes use, valid or not: their programs, working
// directories, open and mapped files, and what their environment names. A link is the file in
// /proc that says so.
//
// These are names as processes see them, so with a store under a root of its own they are those
// of /nix/store all the same. See findRuntimeRootsUnchecked in Nix's src/libstore/local-gc.cc.
//
// A process that ends meanwhile keeps nothing. The files of a process that this one may not read keep
// nothing either, as in Nix: an ordinary user cannot read the files of other users, and could never
// delete anything. Root can read all. Every other error ends the search if it is strict, and so does a /proc without
// processes, which is not mounted.
func (s *rootSearch) runtime(ctx context.Context) ([]store.Root, error) {
	f := &runtimeRoots{rootSearch: s, dir: s.layout.dir, found: make(map[store.Root]bool)}
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

// runtimeRoots are the roots that one search has found.
type runtimeRoots struct {
	*rootSearch
	dir   storepath.Dir
	found map[store.Root]bool
}

// add adds the path that a name is in, if any; the file link has the name. To the name of a file that was
// deleted or replaced Linux adds a suffix. Optimising a store replaces files that are in use.
func (f *runtimeRoots) add(link, name string) {
	name = strings.TrimSuffix(name, " (deleted)")
	if !isBelow(string(f.dir), name) {
		return
	}
	if path, _, err := f.dir.ParseInside(name); err == nil {
		f.found[store.Root{Link: link, Path: path}] = true
	}
}

// processes looks at all processes that are below proc, and at the programs that the kernel runs.
func (f *runtimeRoots) processes(ctx context.Context, proc string) error {
	entries, err := os.ReadDir(proc)
	if runtime.GOOS == "linux" && err == nil {
		_, err = os.Lstat(filepath.Join(proc, "self"))
	} else if runtime.GOOS != "linux" {
		err = objects.IgnoreNotExist(err)
	}
	if err != nil {
		if err := f.unsure(ctx, proc, err); err != nil {
			return err
		}
	}
	for _, entry := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if strings.Trim(entry.Name(), "0123456789") != "" {
			continue
		}
		if err := f.process(ctx, filepath.Join(proc, entry.Name())); err != nil {
			return err
		}
	}
	for _, name := range []string{"modprobe", "fbsplash", "poweroff_cmd"} {
		if err := f.file(ctx, filepath.Join(proc, "sys/kernel", name), f.text); err != nil {
			return err
		}
	}
	return nil
}

// process looks at one process.
func (f *runtimeRoots) process(ctx context.Context, dir string) error {
	for _, name := range []string{"exe", "cwd"} {
		if err := f.link(ctx, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	fds := filepath.Join(dir, "fd")
	files, err := os.ReadDir(fds)
	if err != nil && !isGone(err) {
		if err := f.unsure(ctx, fds, err); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := f.link(ctx, filepath.Join(fds, file.Name())); err != nil {
			return err
		}
	}
	if err := f.file(ctx, filepath.Join(dir, "maps"), f.maps); err != nil {
		return err
	}
	return f.file(ctx, filepath.Join(dir, "environ"), f.environment)
}

func (f *runtimeRoots) link(ctx context.Context, name string) error {
	target, err := os.Readlink(name)
	switch {
	case err == nil:
		f.add(name, target)
	case !isGone(err):
		return f.unsure(ctx, name, err)
	}
	return nil
}

// file calls parse with the contents of a file.
func (f *runtimeRoots) file(ctx context.Context, name string, parse func(name string, text []byte)) error {
	text, err := os.ReadFile(name)
	switch {
	case err == nil:
		parse(name, text)
	case !isGone(err):
		return f.unsure(ctx, name, err)
	}
	return nil
}

func (f *runtimeRoots) text(name string, text []byte) { f.add(name, string(text)) }

// maps finds the mapped files. Their names are what follows the fifth field of a line. Nix finds none
// that has a space in it.
func (f *runtimeRoots) maps(name string, text []byte) {
	prefix := []byte(f.dir + "/")
	for line := range bytes.Lines(text) {
		if i := bytes.Index(line, prefix); i >= 0 && len(bytes.Fields(line[:i])) == 5 {
			f.add(name, string(bytes.TrimSuffix(line[i:], []byte("\n"))))
		}
	}
}

// environment finds what looks like a store path, wherever it is.
func (f *runtimeRoots) environment(name string, text []byte) {
	prefix := []byte(f.dir + "/")
	for {
		i := bytes.Index(text, prefix)
		if i < 0 {
			return
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

// isGone reports whether an error says that a process has ended, or that this one may not read its files.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ESRCH)
}
