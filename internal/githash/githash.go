// Package githash computes git's hashes of files and directories. Nix can use them in content addresses.
//
// A file is hashed as a git object: a header with the kind and the size, and then the contents. A directory is hashed
// as the list of its entries. As in a Nix archive, the hash does not depend on owners, times and modes, except the
// executable bit. Unlike git, this package also hashes empty directories.
//
// Source: src/libutil/git.cc in Nix.
package githash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"pix/internal/contextio"
	"pix/nar"
	"pix/nixhash"
)

// The modes of git's entries.
const (
	regular    = 0o100644
	executable = 0o100755
	symlink    = 0o120000
	directory  = 0o40000
)

// An entry is an entry of a git tree.
type entry struct {
	name string // with a slash at the end if it is a directory: git sorts entries by this name
	mode int
	hash nixhash.Hash
}

// Hash returns the hash of the file, directory or symlink with this name in root. The error is an [*fs.PathError] if
// a file cannot be read, or the cause of ctx.
func Hash(ctx context.Context, root *os.Root, name string, a nixhash.Algorithm) (nixhash.Hash, error) {
	e, err := newEntry(ctx, root, name, a)
	return e.hash, err
}

func newEntry(ctx context.Context, root *os.Root, name string, a nixhash.Algorithm) (e entry, err error) {
	if ctx.Err() != nil {
		return e, context.Cause(ctx)
	}
	info, err := root.Lstat(name)
	if err != nil {
		return e, err
	}
	e.name = path.Base(name)
	switch info.Mode().Type() {
	case 0:
		e.mode = regular
		if info.Mode()&0o100 != 0 {
			e.mode = executable
		}
		e.hash, err = hashFile(ctx, root, name, info.Size(), a)
	case fs.ModeSymlink:
		e.mode = symlink
		target, linkErr := root.Readlink(name)
		e.hash, err = hashObject("blob", target, a), linkErr
	case fs.ModeDir:
		e.name, e.mode = e.name+"/", directory
		e.hash, err = hashTree(ctx, root, name, a)
	default:
		err = &fs.PathError{Op: "hash", Path: name, Err: nar.ErrFileType}
	}
	return e, err
}

func hashFile(ctx context.Context, root *os.Root, name string, size int64, a nixhash.Algorithm) (nixhash.Hash, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return nixhash.Hash{}, err
	}
	defer f.Close()
	h := a.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	n, err := io.Copy(h, contextio.NewReader(ctx, io.LimitReader(f, size+1)))
	if err == nil && n != size {
		err = &fs.PathError{Op: "hash", Path: name, Err: nar.ErrFileChanged}
	}
	return nixhash.FromHash(a, h), err
}

func hashTree(ctx context.Context, root *os.Root, name string, a nixhash.Algorithm) (nixhash.Hash, error) {
	dir, err := root.Open(name)
	if err != nil {
		return nixhash.Hash{}, err
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return nixhash.Hash{}, err
	}
	entries := make([]entry, len(names))
	for i, n := range names {
		if entries[i], err = newEntry(ctx, root, path.Join(name, n), a); err != nil {
			return nixhash.Hash{}, err
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	var list strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&list, "%o %s\x00%s", e.mode, strings.TrimSuffix(e.name, "/"), e.hash.Digest())
	}
	return hashObject("tree", list.String(), a), nil
}

func hashObject(kind, contents string, a nixhash.Algorithm) nixhash.Hash {
	return nixhash.Sum(a, fmt.Appendf(nil, "%s %d\x00%s", kind, len(contents), contents))
}
