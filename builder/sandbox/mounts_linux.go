package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

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
	steps = append(steps, s.bindSteps()...)
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
	return append(steps, s.sealSteps()...)
}

// bindSteps returns the steps that make the mounts of the request.
func (s *setup) bindSteps() (steps []step) {
	for _, m := range s.req.Mounts {
		steps = append(steps, step{"mounting " + m.Target, func() error { return s.root.bind(m) }})
	}
	return steps
}

// sealSteps returns the steps that make the root directory and its files read-only.
func (s *setup) sealSteps() (steps []step) {
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

// readOnly are the flags of read-only mounts, which also disable devices and set-user-ID programs.
const readOnly = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV

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
