package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pix/storepath"
)

// A Profile names a profile: a symlink and the generations beside it. It holds no open file, and several goroutines can
// use it.
type Profile struct {
	storeDir storepath.Dir
	anchor   string // an absolute directory: no change leaves it
	dir      string // the directory of the symlink, relative to anchor
	name     string // the name of the symlink in dir
	found    bool   // by [Find], so it may belong to a hostile user
}

// New returns the profile with the symlink link, whose generations point into the store directory dir. The profile need
// not exist. New does not follow link: see [Resolve].
func New(dir storepath.Dir, link string) (*Profile, error) {
	abs, err := filepath.Abs(link)
	if err != nil {
		return nil, err
	}
	if link == "" || abs == "/" {
		return nil, &LinkError{link, "it has no name"}
	}
	p := &Profile{storeDir: dir, anchor: filepath.Dir(abs), dir: ".", name: filepath.Base(abs)}
	real, err := filepath.EvalSymlinks(p.anchor)
	if err != nil {
		real = p.anchor // it does not exist yet
	}
	for _, parent := range []string{p.anchor, real} {
		if strings.HasPrefix(parent+"/", string(dir)+"/") {
			return nil, &LinkError{abs, "it is in the store"}
		}
	}
	return p, nil
}

// Link returns the absolute name of the symlink.
func (p *Profile) Link() string { return filepath.Join(p.anchor, p.dir, p.name) }

// generationName returns the name of the symlink of a generation.
func (p *Profile) generationName(n uint64) string {
	return p.name + "-" + strconv.FormatUint(n, 10) + "-link"
}

// maxNumber is the largest number that Nix 2.34 reads.
const maxNumber = math.MaxUint32

// parseGeneration returns the number of the generation whose symlink has this name. Nix also accepts names with more text
// after -link, such as the temporary names of symlinks; such files are no generations.
func (p *Profile) parseGeneration(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, p.name+"-")
	if !ok {
		return 0, false
	}
	if digits, ok = strings.CutSuffix(digits, "-link"); !ok {
		return 0, false
	}
	return parseNumber(digits)
}

// parseNumber parses the number of a generation, which has one spelling.
func parseNumber(digits string) (uint64, bool) {
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n <= maxNumber && strconv.FormatUint(n, 10) == digits
}

// parseTarget returns the store path in the target of a symlink. A target with ".." after a store path can lead out of
// the store.
func (p *Profile) parseTarget(target string) (storepath.Path, bool) {
	path, inside, err := p.storeDir.ParseInside(target)
	if err != nil || slices.Contains(strings.Split(inside, "/"), "..") {
		return "", false
	}
	return path, true
}

// open opens the directory of the profile.
func (p *Profile) open() (*directory, error) { return openDir(p.anchor, p.dir) }

// maxHops is the largest number of symlinks that [Resolve] follows, as in Linux.
const maxHops = 40

// Resolve follows symlinks to a profile, such as ~/.nix-profile, and returns the profile at their end: the first symlink
// that points to a generation of itself or into the store, or a name at which there is no symlink.
func Resolve(dir storepath.Dir, link string) (*Profile, error) {
	p, err := New(dir, link)
	for hops := 0; err == nil; hops++ {
		if hops == maxHops {
			return nil, &LinkError{link, "it is a loop of symlinks"}
		}
		target, err := os.Readlink(p.Link())
		if err != nil || filepath.Clean(target) == string(dir) || strings.HasPrefix(target, string(dir)+"/") {
			return p, ignoreNoLink(p, err)
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(p.anchor, target)
		}
		if _, ok := p.parseGeneration(filepath.Base(target)); ok && sameDir(filepath.Dir(target), p.anchor) {
			return p, nil
		}
		next, err := New(dir, target)
		if err != nil {
			return nil, err
		}
		if info, err := os.Lstat(next.Link()); err == nil && info.Mode().Type() != fs.ModeSymlink {
			return nil, &LinkError{p.Link(), fmt.Sprintf("it points to '%s', which is no profile", target)}
		}
		p = next
	}
	return nil, err
}

// ignoreNoLink ignores an error of readlink(2) on a file that does not exist. Any other file than a symlink is an error.
func ignoreNoLink(p *Profile, err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if info, statErr := os.Lstat(p.Link()); statErr == nil && info.Mode().Type() != fs.ModeSymlink {
		return &LinkError{p.Link(), "it exists and is not a symlink"}
	}
	return err
}

// sameDir reports whether two names are the same directory.
func sameDir(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	infoA, err := os.Stat(a)
	if err != nil {
		return false
	}
	infoB, err := os.Stat(b)
	return err == nil && os.SameFile(infoA, infoB)
}

// absolute returns the absolute name of a file in the directory of the profile.
func (p *Profile) absolute(name string) string { return filepath.Join(p.anchor, p.dir, name) }
