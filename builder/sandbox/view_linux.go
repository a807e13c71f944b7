package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// roleView is the name of a process that makes a view and then executes the program that sees it.
const roleView = "pix-view"

// Command returns the command that executes a file as seen in the view, with arguments after the name of the file. As
// with [exec.Command], the caller sets the streams, the environment and the directory, in which the program starts as
// seen in the view. The program must have called [Main]. It does not need root if the kernel allows user namespaces.
//
// If a step fails, the process prints why on its standard error and ends with the exit code 125; 127 means that file
// does not exist, and 126 that it cannot be executed.
func (v *View) Command(file string, args ...string) (*exec.Cmd, error) {
	if !mainCalled.Load() {
		return nil, ErrNoMain
	}
	targets, err := v.targets()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{roleView, strconv.Itoa(len(targets))}
	for _, t := range targets {
		source, err := filepath.EvalSymlinks(v.Dirs[t])
		if err == nil {
			source, err = filepath.Abs(source)
		}
		if err != nil {
			return nil, err
		}
		cmd.Args = append(cmd.Args, t, source)
	}
	cmd.Args = append(append(cmd.Args, file), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN} // else the exec of this program drops it
	}
	return cmd, nil
}

// viewMain makes a view, and executes the program. The arguments are those that Command sets.
func viewMain() int {
	runtime.LockOSThread() // capabilities belong to a thread
	failed := func(code int, err error) int {
		fmt.Fprintln(os.Stderr, "pix: "+err.Error())
		return code
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	n, err := strconv.Atoi(os.Args[1])
	if err != nil || n < 0 || len(os.Args) < 3+2*n {
		return failed(125, fmt.Errorf("the arguments of %s are wrong", roleView))
	}
	v := &view{dirs: make(map[string]string)}
	for pair := range slices.Chunk(os.Args[2:2+2*n], 2) {
		v.dirs[pair[0]] = pair[1]
	}
	argv := os.Args[2+2*n:]
	if err := v.make(); err != nil {
		return failed(125, fmt.Errorf("making the view: %w", err))
	}
	if err := os.Chdir(dir); err != nil {
		return failed(125, err)
	}
	if err := dropViewCapabilities(); err != nil {
		return failed(125, err)
	}
	err = syscall.Exec(argv[0], argv, os.Environ())
	code := 126
	if os.IsNotExist(err) {
		code = 127
	}
	return failed(code, &os.PathError{Op: "executing", Path: argv[0], Err: err})
}

// dropViewCapabilities drops the rights that the mounts needed. Root keeps its own.
func dropViewCapabilities() error {
	if os.Getuid() == 0 {
		return nil
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}

// A view builds a new root directory. Its file system is empty, and the entries of the old root directory are mounted
// in it. The parents of dirs are new directories, whose entries are mounted one by one.
type view struct {
	dirs  map[string]string // the sources, by place
	trees []viewTree
}

// A viewTree is an entry of the new root directory: the target of a symlink, or a copy of a mount and everything
// below it.
type viewTree struct {
	place string
	link  string // of a symlink
	fd    int    // of the tree; -1 for a new directory
	isDir bool
}

// make makes the view the root directory of this process.
func (v *view) make() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return &stepError{"making mounts private", err}
	}
	for place, source := range v.dirs {
		if err := v.copy(place, source); err != nil {
			return err
		}
	}
	if err := v.copyEntries("/"); err != nil {
		return err
	}
	slices.SortFunc(v.trees, func(a, b viewTree) int { return strings.Compare(a.place, b.place) })
	// The copies do not depend on the old root directory, so any directory in it can hold the new one.
	const root = "/proc"
	if err := unix.Mount("none", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return &stepError{"mounting a new root directory", err}
	}
	for _, t := range v.trees {
		if err := t.attach(root); err != nil {
			return &stepError{"mounting " + t.place, err}
		}
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return &stepError{"changing the root directory (pivot_root)", err}
	}
	return unix.Unmount(".", unix.MNT_DETACH)
}

// copy copies the mount that a directory or file belongs to, from there down.
func (v *view) copy(place, source string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &stepError{"copying the mount of " + source, err}
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	v.trees = append(v.trees, viewTree{place: place, fd: fd, isDir: stat.Mode&unix.S_IFMT == unix.S_IFDIR})
	return nil
}

// copyEntries copies the entries of a directory, and the entries of those that lead to a place of the view.
func (v *view) copyEntries(dir string) error {
	for place := range v.dirs { // directories that lead to a place may be missing on this machine
		rest, ok := strings.CutPrefix(place, strings.TrimSuffix(dir, "/")+"/")
		first, _, more := strings.Cut(rest, "/")
		at := path.Join(dir, first)
		if !ok || !more || v.has(at) {
			continue
		}
		v.trees = append(v.trees, viewTree{place: at, fd: -1, isDir: true})
		if err := v.copyEntries(at); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil && dir == "/" {
		return err
	}
	for _, e := range entries { // none if the directory does not exist, or this user cannot read it
		at := path.Join(dir, e.Name())
		if v.has(at) {
			continue
		}
		if e.Type()&os.ModeSymlink != 0 {
			link, err := os.Readlink(at)
			if err != nil {
				return err
			}
			v.trees = append(v.trees, viewTree{place: at, link: link, fd: -1})
			continue
		}
		if err := v.copy(at, at); err != nil {
			return err
		}
	}
	return nil
}

// has reports whether the view has an entry at a place already.
func (v *view) has(place string) bool {
	return slices.ContainsFunc(v.trees, func(t viewTree) bool { return t.place == place })
}

// attach makes the entry in the new root directory.
func (t *viewTree) attach(root string) error {
	name := root + t.place
	switch {
	case t.link != "":
		return os.Symlink(t.link, name)
	case t.isDir:
		if err := os.Mkdir(name, 0o755); err != nil {
			return err
		}
	default:
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		f.Close()
	}
	if t.fd < 0 {
		return nil
	}
	defer unix.Close(t.fd)
	return unix.MoveMount(t.fd, "", unix.AT_FDCWD, name, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
