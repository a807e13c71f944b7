package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"pix/internal/removetree"
	"pix/nar"
	"pix/nixhash"
)

// A Linker replaces identical files of objects with hard links to one file, which also has a name in .links: the hash
// of its archive. An archive contains the execute bit, so an executable file and another one with the same contents
// stay two files. See optimisePath_ in Nix's src/libstore/optimise-store.cc.
//
// Other processes may link, replace and delete files at the same time. A Linker itself is for one goroutine.
type Linker struct {
	StoreDir string
	Repair   bool // hash a file in .links before linking to it, and delete the file if it is damaged

	Display  func(name string) string       // returns the name of a file for messages
	Report   func(line string)              // reports a line that Nix prints
	Failed   func(err error)                // reports a file that could not be linked
	Replaced func(size int64, blocks int64) // reports a file that was replaced, with its size in bytes and in blocks

	linked map[inode]bool // files that have a name in .links
}

// An inode identifies a file under all its names. All files of a store are on one file system.
type inode uint64

// ErrNotRestored reports that a directory of an object was left with a wrong mode or time.
var ErrNotRestored = errors.New("the directory is left changed")

// Load reads which files are in .links already. The linker then skips these files without hashing them.
func (l *Linker) Load(ctx context.Context) error {
	dir, err := OpenLinks(l.StoreDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	l.linked = make(map[inode]bool, len(names))
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			l.linked[inode(st.Ino)] = true
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// Link links the files of an object. It calls Failed for each file that it cannot link. It returns an error if ctx is
// done, or [ErrNotRestored].
func (l *Linker) Link(ctx context.Context, name string) error {
	if l.linked == nil {
		l.linked = make(map[inode]bool)
	}
	st, err := Lstat(name)
	if err == nil {
		err = l.linkNode(ctx, name, st)
	}
	return l.reportFailure(ctx, name, err)
}

// reportFailure passes the error of one file to Failed and returns nil. If the linker must stop, it returns the error.
func (l *Linker) reportFailure(ctx context.Context, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrNotRestored):
		return err
	}
	l.Failed(fmt.Errorf("cannot optimise '%s': %w", l.Display(name), err))
	return nil
}

// linkNode links a file or symlink, or the files in a directory.
func (l *Linker) linkNode(ctx context.Context, name string, st *unix.Stat_t) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return l.linkDir(ctx, name)
	case unix.S_IFREG:
		// A file with a write bit may have been changed after it was added. A link would spread the change.
		if st.Mode&unix.S_IWUSR != 0 {
			l.reportf("warning: skipping suspicious writable file '%s'", l.Display(name))
			return nil
		}
	case unix.S_IFLNK:
		if runtime.GOOS != "linux" {
			return nil // a symlink cannot have a second name
		}
	default:
		return nil
	}
	if l.linked[inode(st.Ino)] {
		return nil
	}
	return l.linkFile(ctx, name, st)
}

// linkDir links the files in a directory. It skips files that disappear, because another process replaces the object.
func (l *Linker) linkDir(ctx context.Context, name string) error {
	entries, err := os.ReadDir(name)
	if IgnoreNotExist(err) != nil {
		return err
	}
	for _, entry := range entries {
		child := filepath.Join(name, entry.Name())
		st, err := Lstat(child)
		if err == nil {
			err = l.linkNode(ctx, child, st)
		} else {
			err = IgnoreNotExist(err)
		}
		if err := l.reportFailure(ctx, child, err); err != nil {
			return err
		}
	}
	return nil
}

// linkFile links a file or symlink. It does nothing if another process changes or deletes the file meanwhile.
func (l *Linker) linkFile(ctx context.Context, name string, st *unix.Stat_t) error {
	hash, _, err := nar.HashPath(ctx, name, nixhash.SHA256, nil)
	if errors.Is(err, nar.ErrFileChanged) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	link := filepath.Join(l.StoreDir, LinksName, hash.Nix32())
	if err := l.deleteDamagedLink(ctx, link, hash, st.Size); err != nil {
		return err
	}
	// A collector can delete the file in .links, and the temporary name, at any moment. Another process that optimises can
	// make the directory of the file read-only.
	for range 100 {
		again, err := l.linkOrReplace(name, link, st)
		if err != nil || !again {
			return err
		}
	}
	return fmt.Errorf("linking '%s' to '%s': other processes change them again and again", name, link)
}

// deleteDamagedLink deletes a file in .links if its size is wrong. With Repair it also compares the hash.
func (l *Linker) deleteDamagedLink(ctx context.Context, link string, hash nixhash.Hash, size int64) error {
	st, err := Lstat(link)
	if err != nil {
		return IgnoreNotExist(err)
	}
	if st.Size == size {
		if !l.Repair {
			return nil
		}
		if got, _, err := nar.HashPath(ctx, link, nixhash.SHA256, nil); err != nil || got == hash {
			return err
		}
	}
	l.reportf("warning: removing corrupted link '%s'", l.Display(link))
	l.reportf("warning: There may be more corrupted paths.\nYou should run `nix-store --verify --check-contents --repair` to fix them all")
	return IgnoreNotExist(os.Remove(link))
}

// linkOrReplace gives the file the name link, or replaces it with the file that has this name. It reports true if
// another process has deleted a name that it needs, so that the caller has to try again.
func (l *Linker) linkOrReplace(name, link string, st *unix.Stat_t) (again bool, err error) {
	switch err := os.Link(name, link); {
	case err == nil:
		l.linked[inode(st.Ino)] = true
		return false, nil
	case errors.Is(err, syscall.ENOSPC):
		// On ext4, a directory can be full although the disk is not.
		l.reportf("cannot link '%s' to '%s': %v", l.Display(link), l.Display(name), err)
		return false, nil
	case errors.Is(err, syscall.EMLINK):
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		if _, gone := Lstat(name); errors.Is(gone, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	case !errors.Is(err, fs.ErrExist):
		return false, err
	}
	linkSt, err := Lstat(link)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist), IgnoreNotExist(err)
	}
	if linkSt.Ino == st.Ino {
		l.linked[inode(st.Ino)] = true
		return false, nil
	}
	if again, err := l.replaceFile(name, link, st.Size); again || err != nil {
		return again, err
	}
	l.linked[inode(linkSt.Ino)] = true
	return false, nil
}

// replaceFile replaces a file with the one in .links, in one step: it renames a temporary name of the latter.
func (l *Linker) replaceFile(name, link string, size int64) (again bool, err error) {
	temp := filepath.Join(l.StoreDir, fmt.Sprintf(".tmp-link-%d-%d", os.Getpid(), rand.Uint32()))
	if err := os.Link(link, temp); err != nil {
		switch {
		case errors.Is(err, syscall.EMLINK):
			if size > 0 { // that a file without contents has many names is normal
				l.reportf("'%s' has maximum number of links", l.Display(link))
			}
			return false, nil
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
			return true, nil
		}
		return false, err
	}
	restore, err := l.makeWritable(filepath.Dir(name))
	if err != nil {
		return false, errors.Join(err, os.Remove(temp))
	}
	defer func() { err = errors.Join(err, restore()) }()
	st, err := Lstat(name)
	if err == nil {
		err = os.Rename(temp, name)
	}
	switch {
	case err == nil:
		if l.Replaced != nil {
			l.Replaced(st.Size, int64(st.Blocks))
		}
		return false, nil
	case errors.Is(err, syscall.EMLINK): // some file systems check the limit only here
		return false, IgnoreNotExist(os.Remove(temp))
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission) && isReadOnly(filepath.Dir(name)):
		return true, IgnoreNotExist(os.Remove(temp))
	}
	return false, errors.Join(err, IgnoreNotExist(os.Remove(temp)))
}

// isReadOnly reports whether a directory lacks the write bit. Another process that links a file in it sets the bit, and
// clears it afterwards, also if this process has set it meanwhile.
func isReadOnly(dir string) bool {
	st, err := Lstat(dir)
	return err == nil && st.Mode&unix.S_IWUSR == 0
}

// makeWritable sets the write bit of a directory of an object, so that names in it can change. The store directory
// itself stays as it is. restore sets the mode and the time that a directory of an object has. Neither follows a
// symlink that has replaced the directory.
func (l *Linker) makeWritable(dir string) (restore func() error, err error) {
	if dir == l.StoreDir {
		return func() error { return nil }, nil
	}
	if err := removetree.ChmodDir(unix.AT_FDCWD, dir, 0o755); err != nil {
		return nil, pathError("chmod", dir, err)
	}
	return func() error {
		err := errors.Join(removetree.ChmodDir(unix.AT_FDCWD, dir, 0o555), setTime(dir))
		if err != nil {
			err = fmt.Errorf("%w: '%s': %w", ErrNotRestored, dir, err)
		}
		return err
	}, nil
}

func (l *Linker) reportf(format string, args ...any) { l.Report(fmt.Sprintf(format, args...)) }
