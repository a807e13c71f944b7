package sandbox

import "context"

// Findings are the abilities of this machine for sandboxes. Each error is the result of a trial: nil if it succeeded,
// and often a [SetupError] with advice.
type Findings struct {
	// Namespaces is the result of a process with namespaces that runs as the user of this process.
	Namespaces error
	// BuildUsers is the result of a process that runs as another user. Only root can do that.
	BuildUsers error
	// Ranges is the result of a process that has 65,536 users.
	Ranges error
	// Filter is the result of a process without namespaces, which needs only the system call filter.
	Filter error
	// Cgroups is the result of making a cgroup below CgroupDir, the cgroup of this process.
	Cgroups   error
	CgroupDir string
	// KVM is the result of opening /dev/kvm.
	KVM error
	// Landlock is the version of the kernel's Landlock, 0 for none. From 6 on, processes with the network cannot
	// reach the machine's abstract sockets.
	Landlock int
	// Kernel is the kernel's release.
	Kernel string
	// Shell is what FindShell returns.
	Shell string
}

// Examine runs trials of all abilities in [Findings]. uid and gid are a build user and its group; 0 means ids without
// an account.
func Examine(ctx context.Context, uid, gid int) (*Findings, error) {
	return standard.Examine(ctx, uid, gid)
}
