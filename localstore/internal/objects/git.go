package objects

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"pix/localstore/internal/regular"
	"pix/nar"
	"pix/nixhash"
)

// A gitEntry is an entry of a git tree.
type gitEntry struct {
	name string // with a slash at the end if it is a directory: git sorts entries by this name
	mode int
	hash nixhash.Hash
}

// The modes of git's entries.
const (
	gitRegular    = 0o100644
	gitExecutable = 0o100755
	gitSymlink    = 0o120000
	gitDirectory  = 0o40000
)

// HashGit returns the hash of a file, symlink or directory as git computes it: the hash of a git object, which is a
// header with the kind and the size, and then the contents of a file or the entries of a directory. See
// src/libutil/git.cc in Nix.
func HashGit(ctx context.Context, root *os.Root, name string, a nixhash.Algorithm) (nixhash.Hash, error) {
	e, err := newGitEntry(ctx, root, name, a)
	return e.hash, err
}

func newGitEntry(ctx context.Context, root *os.Root, name string, a nixhash.Algorithm) (e gitEntry, err error) {
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
		e.hash, err = hashGitFile(root, name, info.Size(), a)
	case fs.ModeSymlink:
		e.mode = gitSymlink
		target, linkErr := root.Readlink(name)
		e.hash, err = hashGitObject("blob", target, a), linkErr
	case fs.ModeDir:
		e.name, e.mode = e.name+"/", gitDirectory
		e.hash, err = hashGitTree(ctx, root, name, a)
	default:
		err = pathError("hash", name, nar.ErrFileType)
	}
	return e, err
}

func hashGitFile(root *os.Root, name string, size int64, a nixhash.Algorithm) (nixhash.Hash, error) {
	f, err := regular.OpenIn(root, name)
	if err != nil {
		return nixhash.Hash{}, err
	}
	defer f.Close()
	h := a.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	n, err := io.Copy(h, io.LimitReader(f, size+1))
	if err == nil && n != size {
		err = pathError("hash", name, nar.ErrFileChanged)
	}
	return nixhash.FromHash(a, h), err
}

func hashGitTree(ctx context.Context, root *os.Root, name string, a nixhash.Algorithm) (nixhash.Hash, error) {
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
		if entries[i], err = newGitEntry(ctx, root, path.Join(name, n), a); err != nil {
			return nixhash.Hash{}, err
		}
	}
	slices.SortFunc(entries, func(a, b gitEntry) int { return strings.Compare(a.name, b.name) })
	var list strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&list, "%o %s\x00%s", e.mode, strings.TrimSuffix(e.name, "/"), e.hash.Digest())
	}
	return hashGitObject("tree", list.String(), a), nil
}

func hashGitObject(kind, contents string, a nixhash.Algorithm) nixhash.Hash {
	return nixhash.Sum(a, fmt.Appendf(nil, "%s %d\x00%s", kind, len(contents), contents))
}
