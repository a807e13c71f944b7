package canonical

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"pix/internal/removetree"
)

const setID = unix.S_ISUID | unix.S_ISGID

// maxKeptDepth bounds how many directories ClearSetID opens at once.
const maxKeptDepth = 256

// ClearSetID clears the setuid and setgid bits of all files and directories below dir that belong to the users of the
// build. Another user of the machine could execute such a file as the build user, and then change later builds of that
// user. It is an error if the tree has more than 256 levels. All processes of the build must have ended.
func (c *Canonicaliser) ClearSetID(dir *os.File) error { return c.clearSetID(dir, 1) }

func (c *Canonicaliser) clearSetID(dir *os.File, depth int) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.clearSetIDOf(dir, name, depth); err != nil {
			return err
		}
	}
	return nil
}

// clearSetIDOf clears the bits of one file, or of a directory and everything in it.
func (c *Canonicaliser) clearSetIDOf(parent *os.File, name string, depth int) error {
	file, fd := parent.Name()+"/"+name, int(parent.Fd())
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: file, Err: err}
	}
	kind, mode := st.Mode&unix.S_IFMT, st.Mode&^unix.S_IFMT
	if kind == unix.S_IFLNK {
		return nil
	}
	if mode&setID != 0 && !c.isForeign(&st) {
		mode &^= setID
		if err := chmod(fd, name, mode); err != nil {
			return &os.PathError{Op: "chmod", Path: file, Err: err}
		}
	}
	if kind != unix.S_IFDIR {
		return nil
	}
	if depth == maxKeptDepth {
		return &os.PathError{Op: "open", Path: file, Err: errors.New("there are too many levels of directories")}
	}
	child, err := removetree.OpenDir(fd, name)
	if errors.Is(err, unix.EACCES) { // other users may still be able to enter it
		if err := chmod(fd, name, mode|0o500); err != nil {
			return &os.PathError{Op: "chmod", Path: file, Err: err}
		}
		child, err = removetree.OpenDir(fd, name)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	dir := os.NewFile(uintptr(child), file)
	defer dir.Close()
	return c.clearSetID(dir, depth+1)
}
