package localstore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// freeSpace returns how many bytes an unprivileged user can still write to the file system of a directory.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return st.Bavail * uint64(st.Frsize), nil
}

// isReadOnlyMount reports whether a directory is on a file system that is mounted read-only.
func isReadOnlyMount(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

// cloneWritable returns a writable clone of a mounted directory. It also clones the mounts below the directory, which
// stay read-only if they are. It needs CAP_SYS_ADMIN and Linux 5.12.
func cloneWritable(dir string) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, os.NewSyscallError("open_tree", err)
	}
	clone := os.NewFile(uintptr(fd), dir)
	err = os.NewSyscallError("mount_setattr", unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}))
	if err == nil && isReadOnlyMount(fdName(clone)) {
		err = errors.New("its file system is read-only, or /proc is not mounted")
	}
	if err != nil {
		clone.Close()
		return nil, err
	}
	return clone, nil
}

// fdName returns a name by which this process can open an open directory again. The name is valid while f is referenced:
// the runtime closes a file that is garbage.
func fdName(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
