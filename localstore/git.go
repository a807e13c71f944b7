package localstore

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"pix/nar"
	"pix/nixhash"
)

// A gitEntry is what a git tree says of one thing in a directory.
type gitEntry struct {
	name string // that of a directory ends in a slash, by which git sorts
	mode int
	hash nixhash.Hash
}

// The modes of git.
const (
	gitRegular    = 0o100644
	gitExecutable = 0o100755
	gitSymlink    = 0o120000
	gitDirectory  = 0o40000
)

// gitHash returns the hash that git has for a file or a directory: that of a text with its kind
// and size, and its contents or list of entries. See src/libutil/git.cc in Nix.
func gitHash(ctx context.Context, root *os.Root, name string, a nixhash.Algorithm) (nixhash.Hash, error) {
	e, err := gitNode(ctx, root, name, a)
	return e.hash, err
}

func gitNode(ctx context.Context, root *os.Root, name string, a nixhash.Algorithm) (e gitEntry, err error) {
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
		e.mode = gitRegular
		if info.Mode()&0o100 != 0 {
			e.mode = gitExecutable
		}
		e.hash, err = gitFile(root, name, info.Size(), a)
	case fs.ModeSymlink:
		e.mode = gitSymlink
		target, linkErr := root.Readlink(name)
		e.hash, err = gitObject("blob", target, a), linkErr
	case fs.ModeDir:
		e.name, e.mode = e.name+"/", gitDirectory
		e.hash, err = gitTree(ctx, root, name, a)
	default:
		err = &fs.PathError{Op: "hash", Path: name, Err: nar.ErrFileType}
	}
	return e, err
}

func gitFile(root *os.Root, name string, size int64, a nixhash.Algorithm) (nixhash.Hash, error) {
	f, err := openFile(root, name)
	if err != nil {
		return nixhash.Hash{}, err
	}
	defer f.Close()
	h := a.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	n, err := io.Copy(h, io.LimitReader(f, size+1))
	if err == nil && n != size {
		err = &fs.PathError{Op: "hash", Path: name, Err: nar.ErrFileChanged}
	}
	return nixhash.FromHash(a, h), err
}

func gitTree(ctx context.Context, root *os.Root, name string, a nixhash.Algorithm) (nixhash.Hash, error) {
	dir, err := root.Open(name)
	if err != nil {
		return nixhash.Hash{}, err
	}
	names, err := dir.Readdirnames(-1)
	dir.Close()
	if err != nil {
		return nixhash.Hash{}, err
	}
	entries := make([]gitEntry, len(names))
	for i, n := range names {
		if entries[i], err = gitNode(ctx, root, path.Join(name, n), a); err != nil {
			return nixhash.Hash{}, err
		}
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].name < entries[j].name })
	var list strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&list, "%o %s\x00%s", e.mode, strings.TrimSuffix(e.name, "/"), e.hash.Digest())
	}
	return gitObject("tree", list.String(), a), nil
}

func gitObject(kind, contents string, a nixhash.Algorithm) nixhash.Hash {
	return nixhash.Sum(a, fmt.Appendf(nil, "%s %d\x00%s", kind, len(contents), contents))
}
