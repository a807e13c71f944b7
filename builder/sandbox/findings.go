package sandbox

import "context"

// Findings say what this machine can do for sandboxes. Each error is the outcome of a trial: nil if it succeeded, and
// often a [SetupError] with advice.
type Findings struct {
	// Namespaces is the outcome of a process with namespaces that runs as the user of this process.
	Namespaces error
	// BuildUsers is the outcome of one that runs as another user. Only root can do that.
	BuildUsers error
	// Ranges is the outcome of one that has 65,536 users.
	Ranges error
	// Filter is the outcome of a process without namespaces, which needs only the system call filter.
	Filter error
	// Cgroups is the outcome of making a cgroup below CgroupDir, the cgroup of this process.
	Cgroups   error
	CgroupDir string
	// KVM is the outcome of opening /dev/kvm.
	KVM error
	// Landlock is the version of the kernel's Landlock, 0 for none. From 6 on, processes with the network cannot
	// reach the machine's abstract sockets.
	Landlock int
	// Kernel is the kernel's release.
	Kernel string
	// Shell is what FindShell returns.
	Shell string
}

// Examine tries what this machine can do. It uses a build user and a group of this machine if uid is not 0.
func Examine(ctx context.Context, uid, gid int) (*Findings, error) {
	return standard.Examine(ctx, uid, gid)
}
