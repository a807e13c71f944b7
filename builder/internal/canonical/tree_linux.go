package canonical

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pix/nar"
)

// A Canonicaliser makes the outputs of one build canonical.
type Canonicaliser struct {
	opts    Options
	ignored map[string]bool
	seen    map[inode]bool // canonical files with several names
	written bool           // another process has a file open for writing
	user    int            // the owner of the store
	group   int
}

type inode struct{ dev, ino uint64 }

// New returns a Canonicaliser for one build.
func New(opts *Options) *Canonicaliser {
	c := &Canonicaliser{opts: *opts, ignored: make(map[string]bool), seen: make(map[inode]bool), user: os.Geteuid(), group: os.Getegid()}
	for _, name := range opts.IgnoredAttributes {
		c.ignored[name] = true
	}
	return c
}

// Written reports whether another process had a canonical file open for writing. It needs the option FindWriters.
func (c *Canonicaliser) Written() bool { return c.written }

// isWritten reports whether a file of this user is open for writing, mapped for writing, or under way to another process
// that may write to it. Only if none is the case, the system grants a read lease; see fcntl(2). A file on a file system
// without leases may be open.
func isWritten(parent int, name string) bool {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd) // releases the lease
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	return err != nil
}

// Tree makes the file or directory with this name in dir canonical. No other user may be able to rename dir. The
// error is a [*Rejection] if the tree cannot become an object.
func (c *Canonicaliser) Tree(ctx context.Context, dir *os.File, name string) error {
	return c.node(ctx, int(dir.Fd()), name, dir.Name()+"/"+name, 1)
}

// node makes one file or directory, by its name in parent, canonical. file is its name in messages, and depth the
// number of levels above it, including itself.
func (c *Canonicaliser) node(ctx context.Context, parent int, name, file string, depth int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: file, Err: err}
	}
	kind := st.Mode & unix.S_IFMT
	switch {
	case kind != unix.S_IFREG && kind != unix.S_IFDIR && kind != unix.S_IFLNK:
		return &Rejection{file, unsupportedType}
	case depth > nar.MaxDepth:
		return &Rejection{file, tooDeep}
	case c.isForeign(&st):
		if kind == unix.S_IFDIR || !c.seen[inode{st.Dev, st.Ino}] {
			return &Rejection{file, invalidOwnership}
		}
		return nil
	}
	if kind != unix.S_IFDIR && st.Nlink > 1 {
		c.seen[inode{st.Dev, st.Ino}] = true
	}
	if err := c.metadata(parent, name, &st); err != nil {
		return &os.PathError{Op: "canonicalise", Path: file, Err: err}
	}
	if kind == unix.S_IFREG && c.opts.FindWriters && !c.written {
		c.written = isWritten(parent, name)
	}
	if kind != unix.S_IFDIR {
		return nil
	}
	return c.directory(ctx, parent, name, file, depth, &st)
}

// isForeign reports whether a file belongs to none of the users of the build.
func (c *Canonicaliser) isForeign(st *unix.Stat_t) bool {
	user := int(st.Uid)
	return c.opts.Users > 0 && (user < c.opts.FirstUser || user >= c.opts.FirstUser+c.opts.Users)
}

// directory makes everything in a directory canonical. The directory is canonical already, so the builder cannot change
// its names.
func (c *Canonicaliser) directory(ctx context.Context, parent int, name, file string, depth int, st *unix.Stat_t) error {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	dir := os.NewFile(uintptr(fd), file)
	defer dir.Close()
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return &os.PathError{Op: "stat", Path: file, Err: err}
	}
	if now.Dev != st.Dev || now.Ino != st.Ino {
		return &Rejection{file, replaced}
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, child := range names {
		if err := c.node(ctx, fd, child, file+"/"+child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// metadata changes the owner, the attributes, the mode and the time of one file, in this order: only the owner may
// change the others, and a chown clears bits of the mode.
func (c *Canonicaliser) metadata(parent int, name string, st *unix.Stat_t) error {
	if int(st.Uid) != c.user {
		if err := unix.Fchownat(parent, name, c.user, c.group, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("change its owner: %w", err)
		}
	}
	mode, changed := st.Mode, int(st.Uid) != c.user
	cleared, err := c.clearAttributes(parent, name, st)
	if err != nil {
		return err
	}
	changed = changed || cleared
	if want := canonicalMode(mode); mode&unix.S_IFMT != unix.S_IFLNK && (changed || mode&^unix.S_IFMT != want) {
		if err := chmod(parent, name, want); err != nil {
			return fmt.Errorf("change its mode: %w", err)
		}
	}
	if st.Mtim.Sec == 1 && st.Mtim.Nsec == 0 {
		return nil
	}
	second := []unix.Timespec{{Sec: 1}, {Sec: 1}}
	if err := unix.UtimesNanoAt(parent, name, second, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("change its time: %w", err)
	}
	return nil
}

// canonicalMode returns the permissions of a file or directory of an object.
func canonicalMode(mode uint32) uint32 {
	if mode&unix.S_IFMT == unix.S_IFDIR || mode&unix.S_IXUSR != 0 {
		return 0o555
	}
	return 0o444
}

// chmod changes the mode of a file by its name in a directory. It does not follow a symlink.
func chmod(parent int, name string, mode uint32) error {
	err := unix.Fchmodat(parent, name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// Linux before 6.6 does not have fchmodat2, and a system call filter may deny it.
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
}

// clearAttributes removes the extended attributes of a file, and reports whether it had any. Before Linux 6.13 the
// system calls for attributes do not accept a directory descriptor, so they get a name below /proc/self/fd.
func (c *Canonicaliser) clearAttributes(parent int, name string, st *unix.Stat_t) (found bool, err error) {
	file := "/proc/self/fd/" + strconv.Itoa(parent) + "/" + name
	var buf [256]byte
	n, err := unix.Llistxattr(file, buf[:])
	list := buf[:max(n, 0)]
	if errors.Is(err, unix.ERANGE) {
		list, err = readAttributes(file)
	}
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENODATA) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list its extended attributes: %w", err)
	}
	for attribute := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if attribute == "" || c.ignored[attribute] {
			continue
		}
		found = true
		err := unix.Lremovexattr(file, attribute)
		if errors.Is(err, unix.EACCES) && st.Mode&unix.S_IFMT != unix.S_IFLNK { // ordinary users need write permission
			if err = chmod(parent, name, 0o700); err == nil {
				err = unix.Lremovexattr(file, attribute)
			}
		}
		if err != nil && !errors.Is(err, unix.ENODATA) {
			return found, fmt.Errorf("remove its extended attribute %s: %w", attribute, err)
		}
	}
	return found, nil
}

// readAttributes returns the names of many extended attributes, each followed by a zero byte.
func readAttributes(file string) ([]byte, error) {
	list := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Llistxattr(file, list)
	return list[:max(n, 0)], err
}
