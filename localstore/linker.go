package localstore

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

	"pix/activity"
	"pix/nar"
	"pix/nixhash"
)

// A linker makes equal files one. See optimisePath_ in Nix's src/libstore/optimise-store.cc.
//
// The hash is that of a file's archive, so files that can be executed are not one with files of the
// same contents that cannot.
type linker struct {
	*Store
	repair   bool
	linked   map[inode]bool // files that are in .links
	task     task
	failures failureLog // files that could not be linked
	files    int        // that were replaced
	freed    uint64     // their sizes in bytes
}

// errNotRestored says that a directory of an object is left with a wrong mode or time.
var errNotRestored = errors.New("the directory is left changed")

// attempt counts the error of an attempt to optimise a file as a failure, and returns nil, unless no other
// file should be attempted.
func (l *linker) attempt(ctx context.Context, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errNotRestored):
		return err
	}
	l.failures.add(ctx, fmt.Errorf("cannot optimise '%s': %w", l.named(name), err))
	return nil
}

// An inode is the number of a file, which all its names have. A store is on one file system.
type inode uint64

// linkedFiles returns the files in .links.
func (s *shared) linkedFiles(ctx context.Context) (map[inode]bool, error) {
	dir, err := s.openLinks()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	linked := make(map[inode]bool, len(names))
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			linked[inode(st.Ino)] = true
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return linked, nil
}

// optimise optimises a file, or all that are in a directory.
func (l *linker) optimise(ctx context.Context, name string) error {
	st, err := lstat(name)
	if err != nil {
		return err
	}
	return l.node(ctx, name, st)
}

// node does so with what is known of it. What goes away meanwhile, because the object is replaced,
// is left out.
func (l *linker) node(ctx context.Context, name string, st *unix.Stat_t) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return l.directory(ctx, name)
	case unix.S_IFREG:
		// Somebody may have changed what is in the store. Better not to spread that.
		if st.Mode&unix.S_IWUSR != 0 {
			say(ctx, "warning: skipping suspicious writable file '%s'", l.named(name))
			return nil
		}
	case unix.S_IFLNK:
		if runtime.GOOS != "linux" {
			return nil // other systems cannot give a symlink a second name
		}
	default:
		return nil
	}
	if l.linked[inode(st.Ino)] {
		return nil
	}
	return l.file(ctx, name, st)
}

func (l *linker) directory(ctx context.Context, name string) error {
	entries, err := os.ReadDir(name)
	if ignoreMissing(err) != nil {
		return err
	}
	for _, entry := range entries {
		child := filepath.Join(name, entry.Name())
		st, err := lstat(child)
		if err == nil {
			err = l.node(ctx, child, st)
		} else {
			err = ignoreMissing(err)
		}
		if err := l.attempt(ctx, child, err); err != nil {
			return err
		}
	}
	return nil
}

// file optimises a file or symlink. If somebody else does, or puts another one in its place, that
// one is left as it is.
func (l *linker) file(ctx context.Context, name string, st *unix.Stat_t) error {
	hash, _, err := nar.HashPath(ctx, name, nixhash.SHA256, nil)
	if errors.Is(err, nar.ErrFileChanged) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	link := filepath.Join(l.links(), hash.Nix32())
	if err := l.dropCorrupted(ctx, link, hash, st.Size); err != nil {
		return err
	}
	// A collector may delete the link, or a name that is about to be renamed, at any time.
	for range 100 {
		gone, err := l.replace(ctx, name, link, st)
		if err != nil || !gone {
			return err
		}
	}
	return fmt.Errorf("linking '%s': '%s' is deleted again and again", name, link)
}

// dropCorrupted deletes a link that is not what its name says.
func (l *linker) dropCorrupted(ctx context.Context, link string, hash nixhash.Hash, size int64) error {
	st, err := lstat(link)
	if err != nil {
		return ignoreMissing(err)
	}
	if st.Size == size {
		if !l.repair {
			return nil
		}
		if got, _, err := nar.HashPath(ctx, link, nixhash.SHA256, nil); err != nil || got == hash {
			return err
		}
	}
	say(ctx, "warning: removing corrupted link '%s'", l.named(link))
	say(ctx, "warning: There may be more corrupted paths.\nYou should run `nix-store --verify --check-contents --repair` to fix them all")
	return ignoreMissing(os.Remove(link))
}

// replace makes name and link the same file. It reports whether that has to be tried again,
// because somebody has deleted a name that it needs.
func (l *linker) replace(ctx context.Context, name, link string, st *unix.Stat_t) (again bool, err error) {
	switch err := os.Link(name, link); {
	case err == nil:
		l.linked[inode(st.Ino)] = true
		return false, nil
	case errors.Is(err, syscall.ENOSPC):
		// On ext4, the directory may be full.
		say(ctx, "cannot link '%s' to '%s': %v", l.named(link), l.named(name), err)
		return false, nil
	case errors.Is(err, syscall.EMLINK):
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		if _, gone := lstat(name); errors.Is(gone, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	case !errors.Is(err, fs.ErrExist):
		return false, err
	}
	linkSt, err := lstat(link)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist), ignoreMissing(err)
	}
	if linkSt.Ino == st.Ino {
		l.linked[inode(st.Ino)] = true
		return false, nil
	}
	if again, err := l.rename(ctx, name, link, st.Size); again || err != nil {
		return again, err
	}
	l.linked[inode(linkSt.Ino)] = true
	return false, nil
}

// rename gives the file at link the name of another, in one step.
func (l *linker) rename(ctx context.Context, name, link string, size int64) (again bool, err error) {
	temp := filepath.Join(l.storeDir, fmt.Sprintf(".tmp-link-%d-%d", os.Getpid(), rand.Uint32()))
	if err := os.Link(link, temp); err != nil {
		switch {
		case errors.Is(err, syscall.EMLINK):
			// There are as many as there can be. With empty files that is no wonder.
			if size > 0 {
				say(ctx, "'%s' has maximum number of links", l.named(link))
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
	st, err := lstat(name)
	if err == nil {
		err = os.Rename(temp, name)
	}
	switch {
	case err == nil:
		l.count(st)
		return false, nil
	case errors.Is(err, syscall.EMLINK): // some file systems find out only now
		return false, ignoreMissing(os.Remove(temp))
	case errors.Is(err, fs.ErrNotExist):
		return true, ignoreMissing(os.Remove(temp))
	}
	return false, errors.Join(err, ignoreMissing(os.Remove(temp)))
}

// count tells of a file that was replaced.
func (l *linker) count(st *unix.Stat_t) {
	l.files++
	l.freed += uint64(st.Size)
	l.task.result(activity.FileLinked, uint64(st.Size), uint64(st.Blocks))
}

// makeWritable lets names in a directory of an object be changed. restore gives the directory the mode and
// time back that everything in the store has. The store directory itself stays as it is. Neither follows a
// symlink that has taken the place of the directory.
func (l *linker) makeWritable(dir string) (restore func() error, err error) {
	if dir == l.storeDir {
		return func() error { return nil }, nil
	}
	if err := chmodDir(unix.AT_FDCWD, dir, 0o755); err != nil {
		return nil, pathError("chmod", dir, err)
	}
	return func() error {
		second := unix.NsecToTimespec(objectTime.UnixNano())
		err := errors.Join(chmodDir(unix.AT_FDCWD, dir, 0o555), unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{second, second}, unix.AT_SYMLINK_NOFOLLOW))
		if err != nil {
			err = fmt.Errorf("%w: '%s': %w", errNotRestored, dir, err)
		}
		return err
	}, nil
}
