package main

import (
	"os"
	"path/filepath"

	"pix/storepath"
)

// maxLinks is how many symlinks are followed to the store, as by the kernel.
const maxLinks = 40

// followToStore follows a symlink that lies outside the store until it comes into it, as Nix
// does with its arguments, and returns the object that it comes into: ./result is what was
// built, and a program of a profile is the profile.
func followToStore(dir storepath.Dir, link string) (storepath.Path, bool) {
	for range maxLinks {
		target, err := os.Readlink(link)
		if err != nil {
			return "", false
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		link = filepath.Clean(target)
		if path, _, err := dir.ParseInside(link); err == nil {
			return path, true
		}
	}
	return "", false
}
