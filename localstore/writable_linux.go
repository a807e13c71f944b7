package localstore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// isReadOnlyMount reports whether a directory is on a file system that is mounted read-only.
func isReadOnlyMount(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

// cloneWritable returns a directory that has the same files and is not mounted read-only. What is mounted below it
// is cloned, too, and stays as it is. It needs CAP_SYS_ADMIN and Linux 5.12.
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

// fdName returns a name by which this process can reach an open directory. The name is valid as long as the file is
// reachable: the runtime closes it when no layout holds it any more.
func fdName(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
