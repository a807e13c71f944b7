package builtins

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// buildenv makes a user environment: a directory with links to the files of packages.
//
// A directory that only one package has is a link to that directory. If a second package has the directory too, the
// link is replaced with a directory of links. If two packages have the same file, the link leads to the package with
// the lower priority number.
//
// Source: src/libstore/builtins/buildenv.cc in Nix.
func buildenv(ctx context.Context, in *Input, log *logger) error {
	out, err := in.output("buildenv")
	if err != nil {
		return err
	}
	text, err := in.attribute("derivations")
	if err != nil {
		return err
	}
	packages, err := parsePackages(text)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	p := &profile{ctx: ctx, log: log, out: out, priorities: make(map[string]int), done: make(map[string]bool), postponed: make(map[string]bool)}
	if err := p.build(packages); err != nil {
		return err
	}
	manifest, err := in.attribute("manifest")
	if err != nil {
		return err
	}
	return os.Symlink(manifest, filepath.Join(out, "manifest.nix"))
}

// A pkg is a package of an environment.
type pkg struct {
	path     string
	active   bool
	priority int
}

// parsePackages reads the variable "derivations": for each derivation whether it is active, its priority, the number
// of its paths, and the paths, separated by white space.
func parsePackages(text string) (packages []pkg, err error) {
	words := strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" \t\n\r", c) })
	for len(words) > 0 {
		if len(words) < 3 {
			return nil, errMalformed
		}
		active := words[0] != "false"
		priority, err := strconv.Atoi(words[1])
		if err != nil {
			return nil, errMalformed
		}
		paths, err := strconv.Atoi(words[2])
		if words = words[3:]; err != nil || paths < 0 || paths > len(words) {
			return nil, errMalformed
		}
		for _, path := range words[:paths] {
			packages = append(packages, pkg{path, active, priority})
		}
		words = words[paths:]
	}
	return packages, nil
}

var errMalformed = errors.New("attribute 'derivations' is malformed: it has for each derivation whether it is active, a priority, the number of paths, and the paths")

// A profile is a user environment during its creation.
type profile struct {
	ctx        context.Context
	log        *logger
	out        string
	priorities map[string]int  // of links, by name
	done       map[string]bool // packages
	postponed  map[string]bool // packages that other packages propagate
}

// firstPropagated is the priority of the first package that another one propagates.
const firstPropagated = 1000

func (p *profile) build(packages []pkg) error {
	slices.SortFunc(packages, func(a, b pkg) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.path, b.path))
	})
	for _, one := range packages {
		if one.active {
			if err := p.add(one.path, one.priority); err != nil {
				return err
			}
		}
	}
	for priority := firstPropagated; len(p.postponed) > 0; {
		paths := slices.Sorted(maps.Keys(p.postponed))
		clear(p.postponed)
		for _, path := range paths {
			if err := p.add(path, priority); err != nil {
				return err
			}
			priority++
		}
	}
	return nil
}

// add adds the files of a package, and postpones the packages that it propagates.
func (p *profile) add(path string, priority int) error {
	if p.done[path] {
		return nil
	}
	p.done[path] = true
	if err := p.link(path, p.out, priority); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(path, "nix-support/propagated-user-env-packages"))
	if err != nil && !isMissing(err) {
		return err
	}
	for _, other := range strings.FieldsFunc(string(text), func(c rune) bool { return c == ' ' || c == '\n' }) {
		if !p.done[other] {
			p.postponed[other] = true
		}
	}
	return nil
}

// hidden are suffixes of the names of files that an environment does not contain, because they are useless there, or
// because each package has its own.
var hidden = []string{"/propagated-build-inputs", "/nix-support", "/perllocal.pod", "/info/dir", "/log", "/manifest.nix", "/manifest.json"}

// link links the files in the directory src from the directory dst.
func (p *profile) link(src, dst string, priority int) error {
	entries, err := os.ReadDir(src)
	if errors.Is(err, syscall.ENOTDIR) {
		p.log.warn("not including \"%s\" in the user environment because it's not a directory", src)
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		from := src + "/" + e.Name()
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := os.Stat(from)
		if isMissing(err) {
			p.log.warn("skipping dangling symlink '%s'", dst+"/"+e.Name())
			continue
		}
		if err != nil {
			return err
		}
		if slices.ContainsFunc(hidden, func(end string) bool { return strings.HasSuffix(from, end) }) {
			continue
		}
		if err := p.linkOne(from, dst+"/"+e.Name(), info.IsDir(), priority); err != nil {
			return err
		}
	}
	return nil
}

// linkOne links the file or directory src from dst.
func (p *profile) linkOne(src, dst string, isDir bool, priority int) error {
	existing, err := os.Lstat(dst)
	switch {
	case isMissing(err):
	case err != nil:
		return err
	case isDir && existing.IsDir():
		return p.link(src, dst, priority)
	case isDir:
		return p.merge(src, dst, priority)
	case existing.IsDir():
		return fmt.Errorf("collision between non-directory '%s' and directory '%s'", src, dst)
	case p.priorities[dst] == priority:
		other, err := os.Readlink(dst)
		if err != nil {
			return err
		}
		return fmt.Errorf("Unable to build profile. There is a conflict for the following files:\n\n  \"%s\"\n  \"%s\"", other, src)
	case p.priorities[dst] < priority:
		return nil
	default:
		if err := os.Remove(dst); err != nil {
			return err
		}
	}
	if err := os.Symlink(src, dst); err != nil {
		return err
	}
	p.priorities[dst] = priority
	return nil
}

// merge replaces a link to a directory with a directory that has the files of both.
func (p *profile) merge(src, dst string, priority int) error {
	target, err := filepath.EvalSymlinks(dst)
	if err != nil {
		return err
	}
	info, err := os.Lstat(target)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("collision between \"%s\" and non-directory \"%s\"", src, target)
	}
	if err := errors.Join(os.Remove(dst), os.Mkdir(dst, 0o755)); err != nil {
		return err
	}
	if err := p.link(target, dst, p.priorities[dst]); err != nil {
		return err
	}
	return p.link(src, dst, priority)
}

// isMissing reports whether an error means that the file does not exist.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
