package powercut

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A tree contains the files below a directory. Inode 0 is the directory.
type tree struct{ inodes []inode }

// An inode is a file, a directory, or a symlink. Trees share contents and names, so they are replaced, never changed.
type inode struct {
	mode     fs.FileMode // type and permissions
	contents []byte      // of a file; the target of a symlink
	names    map[string]int
}

func (t *tree) clone() *tree { return &tree{slices.Clone(t.inodes)} }

func (t *tree) add(n inode) int {
	t.inodes = append(t.inodes, n)
	return len(t.inodes) - 1
}

// readTree reads the files below a directory.
func readTree(dir string) (*tree, error) {
	t := new(tree)
	known := make(map[uint64]int) // files with several names
	var read func(name string) (int, error)
	read = func(name string) (int, error) {
		info, err := os.Lstat(name)
		if err != nil {
			return 0, err
		}
		number := info.Sys().(*syscall.Stat_t).Ino
		if i, ok := known[number]; ok {
			return i, nil
		}
		i := t.add(inode{mode: info.Mode()})
		known[number] = i
		switch info.Mode().Type() {
		case 0:
			t.inodes[i].contents, err = os.ReadFile(name)
		case fs.ModeSymlink:
			var target string
			target, err = os.Readlink(name)
			t.inodes[i].contents = []byte(target)
		case fs.ModeDir:
			entries, err := os.ReadDir(name)
			if err != nil {
				return 0, err
			}
			names := make(map[string]int)
			for _, e := range entries {
				if names[e.Name()], err = read(filepath.Join(name, e.Name())); err != nil {
					return 0, err
				}
			}
			t.inodes[i].names = names
		}
		return i, err
	}
	_, err := read(dir)
	return t, err
}

// write creates the directory with all files.
func (t *tree) write(dir string) error {
	first := make(map[int]string)
	var write func(name string, i int) error
	write = func(name string, i int) error {
		n := t.inodes[i]
		switch n.mode.Type() {
		case fs.ModeDir:
			if err := os.Mkdir(name, 0o700); err != nil {
				return err
			}
			for entry, child := range n.names {
				if err := write(filepath.Join(name, entry), child); err != nil {
					return err
				}
			}
			return os.Chmod(name, n.mode.Perm()|0o700) // tests must be able to delete it
		case fs.ModeSymlink:
			return os.Symlink(string(n.contents), name)
		case 0:
			if other, ok := first[i]; ok {
				return os.Link(other, name)
			}
			first[i] = name
			return writeFile(name, n.contents, n.mode.Perm())
		}
		return nil // sockets and pipes
	}
	return write(dir, 0)
}

// writeFile writes a file. Zeros at its end become a hole.
func writeFile(name string, contents []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.TrimRight(contents, "\x00"))
	return errors.Join(err, f.Truncate(int64(len(contents))), f.Chmod(mode), f.Close())
}

// lookup returns the parent directory and the last element of a name, and its inode, or -1.
func (t *tree) lookup(dir int, name string) (parent int, last string, i int) {
	parts := strings.Split(filepath.Clean(name), "/")
	for n, part := range parts {
		child, ok := t.inodes[dir].names[part]
		switch {
		case part == ".":
			return dir, ".", dir
		case n == len(parts)-1 && !ok:
			return dir, part, -1
		case n == len(parts)-1:
			return dir, part, child
		case !ok:
			return -1, "", -1
		}
		dir = child
	}
	return -1, "", -1
}

func (t *tree) link(dir int, name string, i int) {
	names := maps.Clone(t.inodes[dir].names)
	if names == nil {
		names = make(map[string]int)
	}
	names[name] = i
	t.inodes[dir].names = names
}

// unlink removes a name if it still refers to the inode.
func (t *tree) unlink(dir int, name string, i int) {
	if t.inodes[dir].names[name] == i {
		names := maps.Clone(t.inodes[dir].names)
		delete(names, name)
		t.inodes[dir].names = names
	}
}

func (t *tree) put(i, offset int, p []byte) {
	old := t.inodes[i].contents
	contents := make([]byte, max(len(old), offset+len(p)))
	copy(contents, old)
	copy(contents[offset:], p)
	t.inodes[i].contents = contents
}

func (t *tree) resize(i, size int) {
	contents := make([]byte, size)
	copy(contents, t.inodes[i].contents)
	t.inodes[i].contents = contents
}
