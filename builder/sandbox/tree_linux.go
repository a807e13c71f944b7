package sandbox

import (
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// A tree is the root directory of a sandbox during the set-up. Names in it are resolved from its descriptor,
// component by component, without following symbolic links. A link in a mounted object could otherwise lead to files
// of the machine.
type tree struct {
	fd   int    // opened with O_PATH
	path string // without symbolic links
	old  bool   // use the mount calls of kernels before 5.12
	// root means that the process is root on the machine. It then owns the devices of the machine, and could change
	// their modes.
	root bool
	// uid and gid own the files that are made in file systems of the user namespace.
	uid, gid int
}

// open opens a file or directory of the tree with O_PATH. It makes missing directories. If the last component is
// missing and create is not nil, it calls create with the parent directory.
func (t *tree) open(name string, create func(dir int, base string) error) (int, error) {
	fd, err := unix.Openat(t.fd, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	components := strings.FieldsFunc(path.Clean("/"+name), func(r rune) bool { return r == '/' })
	for i, base := range components {
		do := makeDirectory
		if i == len(components)-1 && create != nil {
			do = create
		}
		next, err := t.openOrCreate(fd, base, do)
		unix.Close(fd)
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: "/" + strings.Join(components[:i+1], "/"), Err: err}
		}
		fd = next
	}
	return fd, nil
}

// openOrCreate opens an entry of a directory that is not a symbolic link, and creates it first if it does not exist.
func (t *tree) openOrCreate(dir int, base string, create func(dir int, base string) error) (int, error) {
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		if err := t.create(func() error { return create(dir, base) }); err != nil {
			return -1, err
		}
		fd, err = unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return -1, err
	}
	var stat unix.Stat_t
	err = unix.Fstat(fd, &stat)
	if err == nil && stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		err = unix.ELOOP
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// create calls f, which makes a file. If the file system belongs to the user namespace, which does not have the user of this
// thread, f makes it as the user of the process.
func (t *tree) create(f func() error) error {
	err := f()
	if err != unix.EOVERFLOW {
		return err
	}
	return t.asUser(f)
}

// asUser calls f, which makes or changes a file, with the user of the process as the owner of its files.
func (t *tree) asUser(f func() error) error {
	setFileIDs(t.uid, t.gid)
	defer resetFileIDs()
	return f()
}

func makeDirectory(dir int, base string) error { return unix.Mkdirat(dir, base, 0o755) }

func makeFile(dir int, base string) error {
	fd, err := unix.Openat(dir, base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// bindSelf mounts a directory of the tree on itself, so that it stays writable.
func (t *tree) bindSelf(name string) error {
	fd, err := t.open(name, nil)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return t.attach(fd, "", fd)
}

// bind mounts a file or directory of the machine in the tree.
func (t *tree) bind(m Mount) error {
	var stat unix.Stat_t
	if err := unix.Lstat(m.Source, &stat); err != nil {
		if m.Optional && (err == unix.ENOENT || err == unix.ENOTDIR) {
			return nil
		}
		return &stepError{fmt.Sprintf("getting attributes of path '%s'", m.Source), err}
	}
	create := makeFile
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		create = makeDirectory
	case unix.S_IFLNK:
		link, err := os.Readlink(m.Source)
		if err != nil {
			return err
		}
		return t.symlink(link, m.Target)
	}
	target, err := t.open(m.Target, create)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	device := t.root && stat.Mode&unix.S_IFMT == unix.S_IFCHR
	if err := t.attach(unix.AT_FDCWD, m.Source, target); err != nil || !m.ReadOnly && !device {
		return err
	}
	// The mount just made lies over target, so open it again.
	mounted, err := t.open(m.Target, nil)
	if err != nil {
		return err
	}
	defer unix.Close(mounted)
	if device {
		return t.setFlags(mounted, m.Target, false, unix.MS_RDONLY) // devices can be written to nevertheless
	}
	return t.setFlags(mounted, m.Target, true, readOnly)
}

// symlink makes a symbolic link in the tree, unless the same link exists.
func (t *tree) symlink(link, name string) error {
	dir, err := t.open(path.Dir(name), nil)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	err = t.create(func() error { return unix.Symlinkat(link, dir, path.Base(name)) })
	if err != unix.EEXIST {
		return err
	}
	existing := make([]byte, unix.PathMax)
	n, readErr := unix.Readlinkat(dir, path.Base(name), existing)
	if readErr != nil || string(existing[:n]) != link {
		return err
	}
	return nil
}

// attach mounts source, with the mounts below it, on target. source is relative to dir; "" is dir itself.
func (t *tree) attach(dir int, source string, target int) error {
	if !t.old {
		flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE | unix.AT_SYMLINK_NOFOLLOW)
		if source == "" {
			flags |= unix.AT_EMPTY_PATH
		}
		fd, err := unix.OpenTree(dir, source, flags)
		if err == nil {
			defer unix.Close(fd)
			return unix.MoveMount(fd, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		}
		if err != unix.ENOSYS {
			return err
		}
		t.old = true
	}
	if source == "" {
		source = descriptorPath(dir)
	}
	return unix.Mount(source, descriptorPath(target), "", unix.MS_BIND|unix.MS_REC, "")
}

// setFlags sets flags of the mount at fd, which is at name in the tree, and of the mounts below it if recursive is set.
func (t *tree) setFlags(fd int, name string, recursive bool, flags uintptr) error {
	if !t.old {
		at := uint(unix.AT_EMPTY_PATH)
		if recursive {
			at |= unix.AT_RECURSIVE
		}
		// MOUNT_ATTR_RDONLY, NOSUID and NODEV are equal to the MS_ flags.
		err := unix.MountSetattr(fd, "", at, &unix.MountAttr{Attr_set: uint64(flags)})
		if err != unix.ENOSYS {
			return err
		}
		t.old = true
	}
	mounts := []string{descriptorPath(fd)}
	if recursive {
		below, err := mountsBelow(path.Join(t.path, name))
		if err != nil {
			return err
		}
		mounts = append(mounts, below...)
	}
	for _, m := range mounts {
		if err := remount(m, flags); err != nil {
			return err
		}
	}
	return nil
}

// remount adds flags to one mount. It keeps the existing flags: a user namespace may not clear them.
func remount(name string, flags uintptr) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(name, &stat); err != nil {
		return err
	}
	// These are equal to the MS_ flags.
	const kept = unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC | unix.ST_NOATIME | unix.ST_NODIRATIME
	flags |= uintptr(stat.Flags)&kept | unix.MS_REMOUNT | unix.MS_BIND
	if stat.Flags&unix.ST_RELATIME != 0 {
		flags |= unix.MS_RELATIME
	}
	return unix.Mount("", name, "", flags, "")
}

// mountsBelow returns the mounts below a directory.
func mountsBelow(dir string) ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var mounts []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if name := unescape.Replace(fields[4]); strings.HasPrefix(name, dir+"/") {
			mounts = append(mounts, name)
		}
	}
	return mounts, nil
}

// descriptorPath returns a name of a descriptor for calls that have no form for descriptors.
func descriptorPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// mountNew mounts a new file system in the tree.
func (t *tree) mountNew(name, fstype, options string) error {
	fd, err := t.open(name, nil)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Mount("none", descriptorPath(fd), fstype, 0, options)
}
