package sandbox

import (
	"io"
	"time"
)

// A Request describes one process and what it can see. It refers to nothing of the process that made it, and knows
// nothing of Nix.
type Request struct {
	// Program is the program to execute, Args its arguments with argv[0], Env its environment (NAME=VALUE, in
	// this order), and Dir its working directory. The names are those inside the sandbox.
	Program string
	Args    []string
	Env     []string
	Dir     string

	// Root is the directory of this machine that the process sees as /. It is read-only in the sandbox, except Writable.
	// "" runs the process without namespaces: it sees the whole machine.
	Root string

	// Mounts are bound below Root, in this order.
	Mounts []Mount

	// Writable are directories in the sandbox, other than mounts, that stay writable: the store directory and /tmp.
	Writable []string

	// RootWritable leaves all of Root writable.
	RootWritable bool

	// UID and GID are the user and the group that the process sees as its own, HostUID and HostGID those that it is on this
	// machine. HostUID and HostGID are those of the calling process if it is not root. Without Root, only HostUID and
	// HostGID count.
	UID, GID         int
	HostUID, HostGID int

	// IDs is how many users and groups the process has, from UID and HostUID on: 1, or 65,536 for a process that needs a range.
	IDs int

	// Network gives the process the network of this machine. Otherwise it has a loopback interface only.
	Network bool

	// System is the Nix name of the machine that the process sees, such as "i686-linux". "" is this machine.
	System string
	// Linux26 lets the kernel report a version 2.6.
	Linux26 bool

	// SharedMemory is the size of /dev/shm, as the option size of tmpfs. "" is 50%.
	SharedMemory string

	// Cgroup is the directory of a cgroup of version 2 that the process is put into; "" for none. Run kills all its
	// processes at the end.
	Cgroup string

	// Builtin names a function that is registered with [Register] and runs instead of Program, in the set-up
	// process, as the user and in the sandbox that Program would have. It gets Input.
	Builtin string
	Input   []byte
}

// A Mount is a file or directory of this machine that the process sees.
type Mount struct {
	Source   string // on this machine
	Target   string // in the sandbox; it is created if it does not exist
	ReadOnly bool   // and nosuid, nodev
	Optional bool   // may be missing
}

// A Result is how a process ended.
type Result struct {
	ExitCode int // -1 if a signal ended the process
	Signal   int // the signal that ended the process, or 0

	// CPUUser and CPUSystem are the processor time of the process and its children.
	CPUUser, CPUSystem time.Duration
}

// Output gets what the process writes to its standard output and standard error, as it comes. An error ends the
// process.
type Output = io.Writer
