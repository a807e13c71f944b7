package sandbox

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// A Request describes one process and the files that it sees.
type Request struct {
	// Program is the program to execute, Args its arguments with argv[0], Env its environment (NAME=VALUE, in
	// this order), and Dir its working directory. The names are those inside the sandbox.
	Program string
	Args    []string
	Env     []string
	Dir     string

	// Root is the directory of this machine that the process sees as /, unless Memory is set. It is read-only in the sandbox, except
	// Writable. The directories /dev and /proc are made in it. "" runs the process without namespaces: it sees the
	// whole machine.
	Root string

	// Remount is a directory of this machine that is mounted read-only, and that the process needs writable: the store
	// directory of NixOS. It becomes writable for the supervisor and the processes that it starts. "" is none.
	Remount string

	// Mounts are bound below Root, in this order. A mount at /dev replaces the usual devices.
	Mounts []Mount

	// Writable are directories in the sandbox, other than mounts, that stay writable: the store directory and /tmp.
	Writable []string

	// RootWritable leaves all of Root writable.
	RootWritable bool

	// Memory makes the root directory a file system in memory, with the mode 0750, root as its owner and HostGID as its group. It has
	// Mounts, Files and, of Root, only Writable. It excludes RootWritable, Live and more than one user, and is ignored without Root.
	Memory bool

	// Files are made in a root directory in memory. At the end of the set-up, the directories in which they are become
	// read-only for their owner too.
	Files []File

	// UID and GID are the user and the group of the process in the sandbox. HostUID and HostGID are its user and
	// group on this machine; they are ignored unless the caller is root, because other callers can only run processes
	// as themselves. Without Root, only HostUID and HostGID count.
	UID, GID         int
	HostUID, HostGID int

	// IDs is how many users and groups the process has, from UID and HostUID on: 1, or 65,536 for a process that
	// needs a range, which has all capabilities in its user namespace and sees /sys. 0 is 1.
	IDs int

	// Groups are the supplementary groups of a process without Root whose HostUID is another user. A process with
	// Root has none if the caller is root; an ordinary user cannot give up groups, and the process sees them as 65534.
	Groups []int

	// KeepGroups accepts that root cannot give up its supplementary groups, as in some containers.
	KeepGroups bool

	// Network gives the process the network of this machine. Otherwise it has a loopback interface only.
	Network bool

	// System is the Nix name of the machine that the process sees, such as "i686-linux". "" is this machine.
	System string
	// Linux26 makes the kernel report version 2.6 to the process.
	Linux26 bool

	// SharedMemory is the size of /dev/shm, as the option size of tmpfs. "" is 50%.
	SharedMemory string

	// Cgroup is the directory of the cgroup (version 2) in which the process starts; "" for none. At the end Run
	// kills all processes in it.
	Cgroup string

	// Locks are files with locks that must not end before all processes have, even if the caller is killed: another
	// program that takes the locks could otherwise meet these processes. The process itself does not get the files.
	// At most 8 are allowed.
	Locks []*os.File

	// OptionalFilter allows the process to run without a system call filter if the machine cannot load one, for
	// example under an emulator.
	OptionalFilter bool

	// Builtin names a function, registered with [Register], that runs instead of Program with Input as its input. It
	// runs in a process of its own, as the same user and in the same sandbox as Program would.
	Builtin string
	Input   []byte

	// Live adds mounts while the process runs. It needs Root, and Linux 5.12; nil is none.
	Live *Live

	shared string // the directory of Live

	// oldMounts uses the mount calls of kernels before 5.12.
	oldMounts bool
}

// A Mount is a file or directory of this machine that the process sees. If it is a symbolic link, the link is copied.
type Mount struct {
	Source   string // on this machine
	Target   string // in the sandbox; it is created if it does not exist
	ReadOnly bool   // and nosuid, nodev
	Optional bool   // may be missing
}

// A File is a regular file in a root directory in memory, with the mode 0644.
type File struct{ Name, Text string }

// A Result says how a process ended.
type Result struct {
	ExitCode int // -1 if a signal ended the process
	Signal   int // the signal that ended the process, or 0

	// CPUUser and CPUSystem are the processor time of the process and its children.
	CPUUser, CPUSystem time.Duration
}

// check returns an error if a request cannot be run on any machine.
func (r *Request) check() error {
	texts := append([]string{r.Program, r.Dir, r.Root, r.System, r.SharedMemory, r.Cgroup, r.Builtin, r.Remount}, r.Args...)
	texts = slices.Concat(texts, r.Env, r.Writable)
	paths := append([]string{r.Dir}, r.Writable...)
	if r.Root != "" {
		paths = append(paths, r.Root)
	}
	if r.Remount != "" {
		paths = append(paths, r.Remount)
	}
	if r.Cgroup != "" {
		paths = append(paths, r.Cgroup)
	}
	for _, m := range r.Mounts {
		texts = append(texts, m.Source, m.Target)
		paths = append(paths, m.Source, m.Target)
	}
	for _, f := range r.Files {
		texts = append(texts, f.Name)
		paths = append(paths, f.Name)
	}
	for _, text := range texts {
		if strings.Contains(text, "\x00") {
			return fmt.Errorf("sandbox: the request contains a NUL byte in %q", text)
		}
	}
	for _, p := range paths {
		if !path.IsAbs(p) {
			return fmt.Errorf("sandbox: the path %q is not absolute", p)
		}
	}
	for _, m := range r.Mounts {
		if path.Clean(m.Target) == "/" {
			return fmt.Errorf("sandbox: %q cannot be mounted at the root directory", m.Source)
		}
	}
	if r.Memory && (r.RootWritable || r.Live != nil || r.IDs > 1) || len(r.Files) > 0 && !r.Memory {
		return fmt.Errorf("sandbox: only a read-only root directory without added mounts, of one user, can be in memory, and only such a one can have files")
	}
	if r.Live != nil && (r.Root == "" || r.Builtin != "" || !slices.Contains(r.Writable, r.Live.dir)) {
		return fmt.Errorf("sandbox: mounts can be added only below a writable directory of a program with namespaces")
	}
	if path.Clean(r.Root) == "/" {
		return fmt.Errorf("sandbox: a sandbox cannot have the root directory of this machine, because files are made in its root directory")
	}
	if r.IDs < 0 || r.UID < 0 || r.GID < 0 || r.HostUID < 0 || r.HostGID < 0 {
		return fmt.Errorf("sandbox: the request has a negative user, group or number of them")
	}
	if len(r.Locks) > maxLocks {
		return fmt.Errorf("sandbox: the request has more than %d locks", maxLocks)
	}
	if strings.Contains(r.SharedMemory, ",") {
		return fmt.Errorf("sandbox: invalid size of /dev/shm %q", r.SharedMemory)
	}
	return nil
}
