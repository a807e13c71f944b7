package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mountSteps returns the steps that make the file systems of the process.
func (s *setup) mountSteps() []step {
	steps := []step{{"making mounts private", makePrivate}, {"mounting the root directory " + s.req.Root, s.mountRoot}}
	switch {
	case s.req.shared != "": // the keeper has done both, and mounted the shared directory
		steps = []step{{"opening the root directory " + s.req.Root, s.openRoot}}
	case s.req.Memory:
		steps[1].do = s.mountMemoryRoot
		steps = append(steps, step{"making files", s.makeFiles})
	}
	ownDev := slices.ContainsFunc(s.req.Mounts, func(m Mount) bool { return path.Clean(m.Target) == "/dev" })
	for _, dir := range s.req.Writable {
		if dir == s.req.shared || s.req.Memory {
			continue // mounted already
		}
		steps = append(steps, step{"mounting " + dir, func() error { return s.root.bindSelf(dir) }})
	}
	if !ownDev && !s.req.Memory {
		steps = append(steps, step{"mounting /dev", s.mountDev}) // before the mounts in it
	}
	for _, m := range s.req.Mounts {
		steps = append(steps, step{"mounting " + m.Target, func() error { return s.root.bind(m) }})
	}
	if !ownDev {
		steps = append(steps, step{"making /dev", s.inRoot(makeDevices)})
	}
	steps = append(steps, step{"mounting /proc", s.mountProc})
	if s.req.IDs > 1 {
		steps = append(steps, step{"mounting /sys", func() error { return s.root.mountNew("/sys", "sysfs", "") }})
	}
	if !ownDev {
		steps = append(steps,
			step{"mounting /dev/shm", s.mountShm},
			step{"mounting /dev/pts", s.inRoot(mountPts)})
	}
	if !ownDev && !s.req.RootWritable && !s.req.Memory {
		steps = append(steps, step{"making /dev read-only", s.sealDev})
	}
	if len(s.req.Files) > 0 {
		steps = append(steps, step{"making directories of files read-only", s.sealFiles})
	}
	if !s.req.RootWritable {
		steps = append(steps, step{"making the root directory read-only", func() error { return s.root.setFlags(s.root.fd, "/", false, readOnly) }})
	}
	return steps
}

func makePrivate() error { return unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, "") }

// pivotSteps returns the steps that change to the root directory.
func (s *setup) pivotSteps() []step {
	return []step{
		{"changing to the root directory", func() error { return unix.Fchdir(s.root.fd) }},
		// With "." for both arguments, the old root is mounted over the new one, so it needs no directory.
		{"changing the root directory (pivot_root)", func() error { return unix.PivotRoot(".", ".") }},
		{"unmounting the old root directory", func() error { return unix.Unmount(".", unix.MNT_DETACH) }},
		{"changing to the new root directory", func() error { return unix.Chdir("/") }},
	}
}

func (s *setup) inRoot(f func(*tree) error) func() error { return func() error { return f(s.root) } }

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

// mountRoot mounts the root directory on itself, because pivot_root needs a mount, and the read-only flag belongs to
// a mount.
func (s *setup) mountRoot() error {
	root, err := s.rootPath()
	if err != nil {
		return err
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return s.openRoot()
}

// rootPath returns the name of the root directory without symbolic links.
func (s *setup) rootPath() (string, error) {
	root, err := filepath.EvalSymlinks(s.req.Root)
	if errors.Is(err, unix.EACCES) {
		err = &stepError{stepRoot + " " + s.req.Root, err}
	}
	return root, err
}

// openRoot opens the root directory.
func (s *setup) openRoot() error {
	root, err := s.rootPath()
	if err != nil {
		return err
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s.root = &tree{fd: fd, path: root, old: s.req.oldMounts, root: s.req.HostUID == 0, uid: s.req.UID, gid: s.req.GID}
	return nil
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

// readOnly are the flags of read-only mounts, which also disable devices and set-user-ID programs.
const readOnly = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV

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

// mountDev mounts the file system of /dev in a root directory on the disk. It is a tmpfs, because making and removing its 14 files on a disk took a fifth
// of the processor time of a build: ext4 searches long for an inode that was not used in the last seconds.
func (s *setup) mountDev() error {
	return s.root.mountNew("/dev", "tmpfs", fmt.Sprintf("mode=0755,uid=%d,gid=%d", s.req.UID, s.req.GID))
}

// makeDevices makes the usual files in /dev: nodes of the machine, since a user namespace may not make its own.
func makeDevices(t *tree) error {
	for _, name := range []string{"full", "null", "random", "tty", "urandom", "zero"} {
		source, err := filepath.EvalSymlinks("/dev/" + name)
		if err != nil {
			return err
		}
		if err := t.bind(Mount{Source: source, Target: "/dev/" + name}); err != nil {
			return &stepError{"mounting /dev/" + name, err}
		}
	}
	for name, link := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		if err := t.symlink("/proc/self/fd"+link, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// sealDev makes the file system of /dev read-only, but neither its devices nor the mounts in it.
func (s *setup) sealDev() error {
	fd, err := s.root.open("/dev", nil)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return s.root.setFlags(fd, "/dev", false, unix.MS_RDONLY|unix.MS_NOSUID)
}

// rootOnly are the parts of /proc that configure the kernel. A process that is root on the machine owns these files,
// and could write to them without any capability.
var rootOnly = []string{"acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "mtrr", "scsi", "sys", "sysrq-trigger"}

func (s *setup) mountProc() error {
	err := s.root.mountNew("/proc", "proc", "")
	if err == nil {
		err = s.limitCgroups()
	}
	if err != nil || s.req.HostUID != 0 {
		return err
	}
	for _, name := range rootOnly {
		name = path.Join("/proc", name)
		fd, err := s.root.open(name, func(int, string) error { return unix.ENOENT })
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return err
		}
		err = s.root.attach(fd, "", fd)
		unix.Close(fd)
		if err != nil {
			return &stepError{"mounting " + name, err}
		}
		if fd, err = s.root.open(name, nil); err != nil {
			return err
		}
		err = s.root.setFlags(fd, name, true, readOnly)
		unix.Close(fd)
		if err != nil {
			return &stepError{"making " + name + " read-only", err}
		}
	}
	return nil
}

// limitCgroups denies further cgroup namespaces. The process is in the cgroup of its caller. In a user namespace of its
// own, it could make a cgroup namespace and mount that cgroup. If its user owns the files of the cgroup, as root does, it
// could then freeze or kill its caller. Two kinds of processes are not limited: a process with a cgroup of its own sees
// only that cgroup, and a process with a range of users may run containers, but does not own the cgroup.
func (s *setup) limitCgroups() error {
	if s.req.Cgroup != "" || s.req.IDs > 1 {
		return nil
	}
	const limit = "/proc/sys/user/max_cgroup_namespaces"
	fd, err := s.root.open(limit, func(int, string) error { return unix.ENOENT })
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := os.WriteFile(descriptorPath(fd), []byte("0"), 0); err != nil {
		return &stepError{"limiting cgroup namespaces", err}
	}
	return nil
}

func (s *setup) mountShm() error {
	size := s.req.SharedMemory
	if size == "" {
		size = "50%"
	}
	return s.root.mountNew("/dev/shm", "tmpfs", "size="+size)
}

// mountPts mounts a new instance of pseudo terminals, or the machine's if the kernel has only one.
func mountPts(t *tree) error {
	err := t.mountNew("/dev/pts", "devpts", "newinstance,mode=0620")
	if err == unix.EINVAL {
		if err := t.bind(Mount{Source: "/dev/pts", Target: "/dev/pts"}); err != nil {
			return err
		}
		return t.bind(Mount{Source: "/dev/ptmx", Target: "/dev/ptmx"})
	}
	if err != nil {
		return err
	}
	if err := t.symlink("/dev/pts/ptmx", "/dev/ptmx"); err != nil {
		return err
	}
	fd, err := t.open("/dev/pts/ptmx", nil)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(descriptorPath(fd), 0o666) // any user may open one
}
