package sandbox

import (
	"golang.org/x/sys/unix"
)

// remount makes a directory writable that is mounted read-only, for the processes that this thread forks: in a user namespace of
// their own they could not. The machine's mounts stay as they are. The supervisor's thread gets a mount namespace of its own when
// this happens first; mounts that the machine makes later still appear in it.
func (s *supervisor) remount(dir string) error {
	if dir == "" || s.remounted[dir] {
		return nil
	}
	if s.remounted == nil {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
			return err
		}
		s.remounted = make(map[string]bool)
	}
	// The directory need not be the root of a mount.
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return err
	}
	s.remounted[dir] = true
	return nil
}
