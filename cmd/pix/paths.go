package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pix/storepath"
)

// paths parses arguments that are store paths, or symlinks to store objects.
func (a *app) paths(args []string) ([]storepath.Path, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	paths := make([]storepath.Path, len(args))
	for i, arg := range args {
		if paths[i], err = dir.Parse(arg); err == nil {
			continue
		}
		var ok bool
		if paths[i], ok = followToStore(dir, arg); !ok {
			return nil, &usageError{notAPath(dir, arg, err)}
		}
	}
	return paths, nil
}

// notAPath returns the error for an argument that is not a store path. For a relative one, such as the name of a
// package, it replaces the parser's error.
func notAPath(dir storepath.Dir, arg string, err error) error {
	if strings.HasPrefix(arg, "/") {
		return err
	}
	return fmt.Errorf("'%s' is neither a store path, which begins with %s/, nor a symlink to one", arg, dir)
}

// maxLinks is the number of symlinks that are followed, as in the kernel.
const maxLinks = 40

// followToStore follows symlinks, beginning with one outside the store, until the target is in the store, and
// returns the store object of that target. So ./result is the output that was built, and a program of a profile is
// the profile. Nix resolves its arguments in the same way.
func followToStore(dir storepath.Dir, link string) (storepath.Path, bool) {
	path, _, ok := followInside(dir, link)
	return path, ok
}

// followInside follows symlinks like followToStore, and returns the target in the store object too.
func followInside(dir storepath.Dir, link string) (object storepath.Path, inside string, ok bool) {
	for range maxLinks {
		target, err := os.Readlink(link)
		if err != nil {
			return "", "", false
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		link = filepath.Clean(target)
		if path, inside, err := dir.ParseInside(link); err == nil {
			return path, inside, true
		}
	}
	return "", "", false
}

// union returns the paths of all lists, sorted, each once.
func union(lists [][]storepath.Path) []storepath.Path {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}
