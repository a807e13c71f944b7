package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"pix/derivation"
	"pix/nixbase32"
	"pix/store"
	"pix/storepath"
)

// A storeName is an argument that names a store object, in one of these forms:
//
//   - a store path, also with a slash at its end or more slashes than needed;
//   - a file in a store object;
//   - a symlink that leads to one of these, or a file below such a symlink, as ./result/bin;
//   - the outputs of a derivation: DRV^out, DRV^out,dev or DRV^*, and with ! as in older versions of Nix;
//   - the hash part of a store path, or at least [minHashPart] digits with which one valid path begins.
type storeName struct {
	path storepath.Path // the object, or the derivation before ^; "" for a hash part
	*nameForm
}

// A nameForm is what an argument has besides a path. All plain store paths share one, because there may be a million
// of them.
type nameForm struct {
	arg      string
	inside   string                 // the file in the object, which begins with a slash; "" for the object itself
	built    derivation.DerivedPath // the outputs of a derivation, or nil
	hashPart string                 // has to be looked up in the store
}

var plainName = new(nameForm)

// minHashPart is the shortest beginning of a hash part that names a path.
const minHashPart = 7

// names parses arguments that name store objects. The error is a usage error.
func (a *app) names(args []string) ([]storeName, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	names := make([]storeName, len(args))
	for i, arg := range args {
		if names[i], err = parseStoreName(dir, arg); err != nil {
			return nil, &usageError{err}
		}
	}
	return names, nil
}

// parseStoreName parses an argument that names a store object.
func parseStoreName(dir storepath.Dir, arg string) (storeName, error) {
	path, inside, err := locate(dir, arg)
	if err == nil && inside == "" {
		return storeName{path, plainName}, nil
	}
	n := storeName{path, &nameForm{arg: arg, inside: inside}}
	if err == nil {
		return n, nil
	}
	if base, separator, outputs, ok := cutOutputs(arg); ok {
		parse := derivation.ParseDerivedPath
		if separator == "!" {
			parse = derivation.ParseLegacyDerivedPath
		}
		if drv, inside, err := locate(dir, base); err == nil && inside == "" {
			n.path = drv
			n.built, err = parse(dir, string(drv)+separator+outputs)
			return n, err
		}
	}
	digits := strings.TrimPrefix(arg, string(dir)+"/")
	if len(digits) == storepath.HashPartLen || len(digits) >= minHashPart && strings.ContainsAny(digits, "0123456789") {
		if len(digits) <= storepath.HashPartLen && nixbase32.IsDigits(digits) {
			n.hashPart = digits
			return n, nil
		}
	}
	return n, notAPath(dir, arg, err)
}

// cutOutputs splits an argument before the first ^, or else the first !, which begin the names of outputs.
func cutOutputs(arg string) (base, separator, outputs string, ok bool) {
	for _, separator := range []string{"^", "!"} {
		if base, outputs, ok := strings.Cut(arg, separator); ok {
			return base, separator, outputs, true
		}
	}
	return arg, "", "", false
}

// locate returns the store object, and the file in it, to which the name of a file leads.
func locate(dir storepath.Dir, name string) (object storepath.Path, inside string, err error) {
	clean := filepath.Clean(name)
	if object, inside, err = dir.ParseInside(clean); err == nil || name == "" {
		return object, inside, err
	}
	if abs, absErr := filepath.Abs(name); absErr == nil && abs != clean { // the directory of this process may be in the store
		if object, inside, err := dir.ParseInside(abs); err == nil {
			return object, inside, nil
		}
	}
	link, rest := clean, ""
	for link != "." && link != "/" {
		if object, inside, ok := followInside(dir, link); ok {
			return object, inside + rest, nil
		}
		link, rest = filepath.Dir(link), "/"+filepath.Base(link)+rest
	}
	return "", "", err
}

// isDerivation reports whether the name stands for a derivation or outputs of it, and not for an output that is a derivation.
func (n *storeName) isDerivation() bool {
	if built, ok := n.built.(derivation.Built); ok {
		_, ok := built.Drv.(derivation.Opaque)
		return ok
	}
	return n.path.IsDerivation() && n.inside == ""
}

// find looks up the path of a hash part in the store. The error for none is a usage error.
func (n *storeName) find(ctx context.Context, s store.Store) error {
	if n.hashPart == "" {
		return nil
	}
	if len(n.hashPart) == storepath.HashPartLen {
		path, err := pathOfHashPart(ctx, s, n.hashPart)
		if err == nil {
			n.path, n.hashPart = path, ""
		}
		return err
	}
	all, err := store.AllValidPaths(ctx, s)
	if _, cannot := errors.AsType[*store.UnsupportedError](err); cannot {
		return &usageError{fmt.Errorf("this store cannot list its paths, so '%s' needs all %d digits of the hash part", n.arg, storepath.HashPartLen)}
	} else if err != nil {
		return err
	}
	var found []storepath.Path
	for _, path := range all {
		if strings.HasPrefix(path.HashPart(), n.hashPart) {
			found = append(found, path)
		}
	}
	switch len(found) {
	case 0:
		return &usageError{notAPath(s.Dir(), n.hashPart, nil)}
	case 1:
		n.path, n.hashPart = found[0], ""
		return nil
	}
	return &usageError{fmt.Errorf("'%s' begins the hash parts of %d valid paths, such as %s and %s", n.arg, len(found), found[0], found[1])}
}

// pathOfHashPart returns the valid path with a hash part.
func pathOfHashPart(ctx context.Context, s store.Store, hashPart string) (storepath.Path, error) {
	q, ok := store.As[store.HashPartQuerier](s)
	if !ok {
		return "", &store.UnsupportedError{What: "look up hash parts"}
	}
	path, err := q.QueryPathFromHashPart(ctx, hashPart)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("no valid path of the store has the hash part '%s'", hashPart)
	}
	return path, err
}

// objects returns the store objects that a name stands for: one, or several for outputs of a derivation.
func (n *storeName) objects(ctx context.Context, s store.Store) ([]storepath.Path, error) {
	if err := n.find(ctx, s); err != nil {
		return nil, err
	}
	if n.built == nil {
		return []storepath.Path{n.path}, nil
	}
	outputs, err := builtOutputs(ctx, s, n.built)
	paths := make([]storepath.Path, len(outputs))
	for i, o := range outputs {
		paths[i] = o.path
	}
	return paths, err
}

// derivation returns the derivation that a name stands for: a derivation itself, also for DRV^out, and else the deriver of
// the object, as in Nix.
func (n *storeName) derivation(ctx context.Context, s store.Store) (storepath.Path, error) {
	if err := n.find(ctx, s); err != nil {
		return "", err
	}
	if built, ok := n.built.(derivation.Built); ok {
		return resolveDerivation(ctx, s, built.Drv)
	}
	if n.path.IsDerivation() {
		return n.path, nil
	}
	if drvs, err := store.ValidDerivers(ctx, s, n.path); err == nil && len(drvs) > 0 {
		return drvs[0], nil
	}
	info, err := s.QueryPathInfo(ctx, n.path)
	if err != nil {
		return "", err
	}
	if info.Deriver == "" {
		return "", fmt.Errorf("'%s' is not a derivation and has no known deriver", n.path)
	}
	return info.Deriver, nil
}

// derivedPath returns the name as what a store builds.
func (n *storeName) derivedPath(ctx context.Context, s store.Store) (derivation.DerivedPath, error) {
	if err := n.find(ctx, s); err != nil {
		return nil, err
	}
	if n.built != nil {
		return n.built, nil
	}
	return derivation.Opaque{Path: n.path}, nil
}

// objectsOf returns the store objects that the names stand for, in order.
func objectsOf(ctx context.Context, s store.Store, names []storeName) ([]storepath.Path, error) {
	paths := make([]storepath.Path, 0, len(names))
	for i := range names {
		objects, err := names[i].objects(ctx, s)
		if err != nil {
			return nil, err
		}
		paths = append(paths, objects...)
	}
	return paths, nil
}

// objectOf returns the store object of a name that must stand for one.
func objectOf(ctx context.Context, s store.Store, n storeName) (storepath.Path, error) {
	paths, err := n.objects(ctx, s)
	if err == nil && len(paths) != 1 {
		err = &usageError{fmt.Errorf("'%s' names %d paths, expected one", n.arg, len(paths))}
	}
	if err != nil {
		return "", err
	}
	return paths[0], nil
}

// twoObjects returns the store objects of two names, which must stand for one each.
func twoObjects(ctx context.Context, s store.Store, names []storeName) (paths [2]storepath.Path, err error) {
	for i := range paths {
		if paths[i], err = objectOf(ctx, s, names[i]); err != nil {
			return paths, err
		}
	}
	return paths, nil
}

// derivationsOf returns the derivations that the names stand for, in order.
func derivationsOf(ctx context.Context, s store.Store, names []storeName) ([]storepath.Path, error) {
	drvs := make([]storepath.Path, len(names))
	for i := range names {
		var err error
		if drvs[i], err = names[i].derivation(ctx, s); err != nil {
			return nil, err
		}
	}
	return drvs, nil
}

// derivedPathsOf returns what a store builds for the names.
func derivedPathsOf(ctx context.Context, s store.Store, names []storeName) ([]derivation.DerivedPath, error) {
	built := make([]derivation.DerivedPath, len(names))
	for i := range names {
		var err error
		if built[i], err = names[i].derivedPath(ctx, s); err != nil {
			return nil, err
		}
	}
	return built, nil
}
