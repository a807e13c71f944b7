package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pix/storepath"
)

// notAPath returns the error for an argument that does not name a store object. For a relative one, such as the name of a
// package, it replaces the parser's error.
func notAPath(dir storepath.Dir, arg string, err error) error {
	if strings.HasPrefix(arg, "/") {
		return err
	}
	err = fmt.Errorf("'%s' is neither a store path, which begins with %s/, nor a symlink to one", arg, dir)
	file, _, _, _ := cutOutputs(arg)
	if strings.HasSuffix(file, storepath.DerivationExt) {
		return fmt.Errorf("%w; 'pix drv-add %s' adds a .drv file to the store", err, file)
	}
	if strings.Contains(arg, "#") {
		return fmt.Errorf("%w; pix evaluates no flakes: evaluate it with Nix first, as with 'nix path-info --derivation %s'", err, arg)
	}
	return err
}

// maxLinks is the number of symlinks that are followed, as in the kernel.
const maxLinks = 40

// followInside follows symlinks, beginning with one outside the store, until the target is in the store, and returns
// the store object of that target and the file in it. So ./result is the output that was built, and a program of a profile
// is the profile. Nix resolves its arguments in the same way.
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
