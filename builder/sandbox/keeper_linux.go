package sandbox

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A process to which mounts can be added has a keeper as its parent, a reaper in the user namespace of the process and
// in a mount namespace of its own. There the root directory of the machine is still in place, which the process has
// left. The directory for mounts is shared between both mount namespaces, so a mount that the keeper makes appears in
// the other one. A program with many threads cannot enter a user namespace that exists, so the process that has one
// must be there from the start.
//
//	program ── supervisor ── keeper ── set-up process ─exec→ the process, PID 1 of its namespaces
//
// The process cannot see, signal or trace its keeper, which is not in its PID namespace.

// A keeperStart describes the root directory of a keeper's process.
type keeperStart struct {
	root, dir string
	hostUID   int
}

func (k *keeperStart) code(c *coder) {
	c.string(&k.root)
	c.string(&k.dir)
	c.int(&k.hostUID)
}

// keep is the keeper of a process.
func keep() int {
	runtime.LockOSThread() // the thread that forks: see supervise
	syscall.CloseOnExec(mountsFD)
	mounts := os.NewFile(mountsFD, "mounts")
	var start keeperStart
	if len(os.Args) != 2 || readMessage(mounts, &start) != nil {
		return 1
	}
	network, err := strconv.ParseBool(os.Args[1])
	if err != nil {
		return 1
	}
	root, err := shareDirectory(&start)
	if err == nil {
		go serveMounts(mounts, root)
	}
	// This process holds the other end until it ends.
	life, own, pipeErr := os.Pipe()
	if err == nil {
		err = pipeErr
	}
	code := reapSetUp(err, syscall.CLONE_NEWNS|innerNamespaces(network), life)
	runtime.KeepAlive(own)
	return code
}

// shareDirectory mounts the root directory and, shared, the directory for mounts.
func shareDirectory(start *keeperStart) (*tree, error) {
	if err := makePrivate(); err != nil {
		return nil, &stepError{"making mounts private", err}
	}
	s := &setup{req: Request{Root: start.root, HostUID: start.hostUID}}
	if err := s.mountRoot(); err != nil {
		return nil, &stepError{"mounting the root directory " + start.root, err}
	}
	if err := s.root.bindSelf(start.dir); err != nil {
		return nil, &stepError{"mounting " + start.dir, err}
	}
	fd, err := s.root.open(start.dir, nil) // the mount just made
	if err == nil {
		err = unix.Mount("", descriptorPath(fd), "", unix.MS_SHARED, "")
		unix.Close(fd)
	}
	if err != nil {
		return nil, &stepError{"sharing " + start.dir, err}
	}
	return s.root, nil
}

// serveMounts makes the mounts that the caller asks for, until the caller closes the socket.
func serveMounts(socket *os.File, root *tree) {
	for {
		var m mountCall
		if err := readMessage(socket, &m); err != nil {
			return
		}
		reply := &event{ok: true}
		if err := root.bindReadOnly(m.source, m.target); err != nil {
			step := "mounting " + m.target
			if e, ok := errors.AsType[*stepError](err); ok {
				step, err = e.step, e.err
			}
			reply = failure(step, err)
		}
		if err := writeMessage(socket, reply); err != nil {
			return
		}
	}
}

// bindReadOnly mounts a file or directory of the machine in the tree. The mount is read-only before it appears: the
// process, which runs, could otherwise open a file for writing in between.
func (t *tree) bindReadOnly(source, target string) error {
	var stat unix.Stat_t
	if err := unix.Lstat(source, &stat); err != nil {
		return &stepError{"getting attributes of path '" + source + "'", err}
	}
	create := makeFile
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		create = makeDirectory
	case unix.S_IFLNK:
		link, err := os.Readlink(source)
		if err != nil {
			return err
		}
		return t.symlink(link, target)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: readOnly}); err != nil {
		return err
	}
	at, err := t.open(target, create)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return unix.MoveMount(fd, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}
