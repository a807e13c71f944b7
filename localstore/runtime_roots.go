package localstore

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"pix/localstore/internal/objects"
	"pix/store"
	"pix/storepath"
)

// runtime returns the paths that running processes use, valid or not: their programs, working directories, open and
// mapped files, and paths in their environment. The link of a root is a file in /proc.
//
// It searches for the logical store directory, so a process that uses /nix/store also keeps paths of a chroot store. See
// findRuntimeRootsUnchecked in Nix's src/libstore/local-gc.cc.
//
// A process that ends during the search keeps no path. As in Nix, a process whose files this one may not read keeps none
// either: otherwise a user other than root could never collect garbage. A strict search returns every other error, and
// an error if /proc contains no processes, because it is not mounted then.
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

// add adds the store path that contains the file name, which was found in link. Linux adds a suffix to the name of a file
// that was deleted or replaced. Such files count too, because optimisation replaces files that are in use.
func (f *runtimeRoots) add(link, name string) {
	name = strings.TrimSuffix(name, " (deleted)")
	if !isBelow(string(f.dir), name) {
		return
	}
	if path, _, err := f.dir.ParseInside(name); err == nil {
		f.found[store.Root{Link: link, Path: path}] = true
	}
}

// processes adds the paths that processes use, and the paths of programs that the kernel starts.
func (f *runtimeRoots) processes(ctx context.Context, proc string) error {
	entries, err := os.ReadDir(proc)
	if runtime.GOOS == "linux" && err == nil {
		_, err = os.Lstat(filepath.Join(proc, "self"))
	} else if runtime.GOOS != "linux" {
		err = objects.IgnoreNotExist(err)
	}
	if err != nil {
		if err := f.unreadable(ctx, proc, err); err != nil {
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

// process adds the paths that one process uses.
func (f *runtimeRoots) process(ctx context.Context, dir string) error {
	for _, name := range []string{"exe", "cwd"} {
		if err := f.link(ctx, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	fds := filepath.Join(dir, "fd")
	files, err := os.ReadDir(fds)
	if err != nil && !isGone(err) {
		if err := f.unreadable(ctx, fds, err); err != nil {
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
		return f.unreadable(ctx, name, err)
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
		return f.unreadable(ctx, name, err)
	}
	return nil
}

func (f *runtimeRoots) text(name string, text []byte) { f.add(name, string(text)) }

// maps adds mapped files. The name of the file begins after the fifth field of a line, and may contain spaces. Nix ignores
// names with spaces.
func (f *runtimeRoots) maps(name string, text []byte) {
	prefix := []byte(f.dir + "/")
	for line := range bytes.Lines(text) {
		if i := bytes.Index(line, prefix); i >= 0 && len(bytes.Fields(line[:i])) == 5 {
			f.add(name, string(bytes.TrimSuffix(line[i:], []byte("\n"))))
		}
	}
}

// environment adds every store path in an environment, anywhere in a value.
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

// isNameByte reports whether the name of a store path may contain b.
func isNameByte(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || strings.IndexByte("+-._?=", b) >= 0
}

// isGone reports whether err means that a process has ended, or that this one may not read its files.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ESRCH)
}

// lsofLink is the link of roots that lsof(8) has found, on systems without /proc. Nix uses the same.
const lsofLink = "{lsof}"

// lsof adds the open files of all processes. lsof(8) exits with an error if it cannot read some file, and prints the
// others. If it prints nothing or is not installed, the search cannot know the runtime roots.
func (f *runtimeRoots) lsof(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "lsof", "-n", "-w", "-F", "n").Output()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !(failed && len(out) > 0) {
		return f.unreadable(ctx, "lsof", err)
	}
	f.lsofLines(out)
	return nil
}

// lsofLines parses the output of lsof, in which the first letter of a line is the kind of field.
func (f *runtimeRoots) lsofLines(out []byte) {
	for line := range bytes.Lines(out) {
		if name, ok := bytes.CutPrefix(line, []byte("n")); ok {
			f.add(lsofLink, string(bytes.TrimSuffix(name, []byte("\n"))))
		}
	}
}
