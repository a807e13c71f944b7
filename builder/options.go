package builder

import (
	"fmt"
	"time"

	"pix/signature"
)

// Options say how builds run on this machine. Nil and the zero value are useful: builds are sandboxed, have no /bin/sh, and
// run as this user, or as build users if it is root.
type Options struct {
	// Executor runs the processes of builds. Nil runs them on this machine, with [sandbox.Run].
	Executor Executor

	// Sandbox says which derivations are built in a sandbox. A store whose files are not at its logical directory
	// builds everything in a sandbox.
	Sandbox SandboxMode

	// SandboxPaths are files of this machine that sandboxed builders see. A source in the store directory
	// brings its closure.
	SandboxPaths []SandboxPath

	// Shell is the file of this machine that sandboxed builders see as /bin/sh, read-only, unless SandboxPaths has a
	// /bin/sh. It must be linked statically. "" means that there is no /bin/sh.
	Shell string

	// SandboxBuildDir is the build directory as sandboxed builders see it; "" is /build.
	SandboxBuildDir string

	// SharedMemory is the size of /dev/shm in the sandbox, as the option size of tmpfs; "" is 50%.
	SharedMemory string

	// BuildDir is the directory below which each build gets its build directory; "" is "builds" in the state
	// directory of the store.
	BuildDir string

	// BuildUsersGroup names a group. Each build of root runs as another member of it. "" is nixbld, if the machine has
	// that group. If it has not, each sandboxed build of root runs as an automatic user, as with AutoAllocateUIDs. Builds
	// without a sandbox, and in a user namespace without such users, run as the user of this process then.
	BuildUsersGroup string

	// AutoAllocateUIDs runs each build of root as one of IDCount user ids from StartID on, which need no
	// accounts, instead of a member of BuildUsersGroup. A build takes 65,536 of them. 0 is 0x34000000 and 128 * 65,536.
	AutoAllocateUIDs bool
	StartID, IDCount uint32

	// AsRoot runs builds of root as root, if BuildUsersGroup is "" and AutoAllocateUIDs is not set. A builder that
	// escapes from its sandbox is root then.
	AsRoot bool

	// RequireDropSupplementaryGroups makes builds fail if the supplementary groups of the calling user cannot be
	// dropped. Only root can drop them.
	RequireDropSupplementaryGroups bool

	// OptionalFilter allows builds without a system call filter on a machine that cannot load one, for example under
	// an emulator. Otherwise builds fail there.
	OptionalFilter bool

	// Cgroups runs each build in a cgroup of its own.
	Cgroups bool

	// Linux26 makes the kernel report version 2.6 to builders.
	Linux26 bool

	// Cores is the value of NIX_BUILD_CORES. 0 means the number of processors, or fewer if the cgroup of this process
	// has a limit.
	Cores int

	// System is the system of this machine, such as "x86_64-linux"; "" detects it. ExtraPlatforms are other systems
	// whose programs run here.
	System         string
	ExtraPlatforms []string

	// SystemFeatures are the features that this machine offers. A derivation that requires another feature is
	// rejected.
	SystemFeatures []string

	// Timeout limits the duration of a build, and MaxSilentTime the time in which it writes nothing to its log. Both
	// are whole seconds; 0 is no limit.
	Timeout, MaxSilentTime time.Duration

	// MaxLogSize is the largest size of a log in bytes. A build that writes more is killed. 0 is no limit.
	MaxLogSize uint64

	// KeepFailed keeps the build directory of a failed build.
	KeepFailed bool

	// MaxKept is how many build directories may be kept in BuildDir, by this builder and others; 0 is no limit. With
	// untrusted clients, set a limit: they could fill the disk.
	MaxKept int

	// DiscardLog keeps no log of builds in the store.
	DiscardLog bool

	// LogLines is the number of lines of the log in the message of a failed build. 0 means 25, and a negative number
	// none.
	LogLines int

	// LogCommand is the command in the message of a failed build that shows the log; "" is "nix log".
	LogCommand string

	// ImpureEnv returns the value of a variable that a fixed or impure derivation asks for (impureEnvVars). If it is
	// nil or returns false, the builder gets an empty value.
	ImpureEnv func(name string) (value string, ok bool)

	// PreBuildHook is a program that prints more sandbox paths; "" is none.
	PreBuildHook string

	// DiffHook is a program that shows how the outputs of a check differ from the valid ones; "" is none.
	DiffHook string

	// IgnoredACLs are the names of extended attributes that may stay on outputs. Nil is security.selinux,
	// system.nfs4_acl and security.csm.
	IgnoredACLs []string

	// AllowedImpureHostDeps are the files and directories of this machine that derivations may ask for
	// (__impureHostDeps).
	AllowedImpureHostDeps []string

	// AutoOptimise replaces files of outputs with hard links to identical files of the store, even if the store does
	// not do that with all objects.
	AutoOptimise bool

	// SecretKeys sign the outputs.
	SecretKeys []signature.SecretKey

	// CertFile is a file with the certificates of authorities, for builders that have the network; "" is none.
	CertFile string

	// Netrc has passwords for builtin:fetchurl, in the form of the file .netrc.
	Netrc []byte

	// HashedMirrors are URLs at which builtin:fetchurl looks for a file by its hash first.
	HashedMirrors []string

	// PollInterval is how often a build that waits for a build user tries again; 0 means 5 seconds.
	PollInterval time.Duration

	etc, machineUsers string // replace /etc and machineUsers in tests
}

// A SandboxMode says which derivations are built in a sandbox.
type SandboxMode int

// The modes of Nix.
const (
	SandboxAll     SandboxMode = iota // all; a derivation with __noChroot is an error
	SandboxRelaxed                    // all except fixed and impure ones, and those with __noChroot
	SandboxNone                       // none
)

func (m SandboxMode) String() string {
	switch m {
	case SandboxAll:
		return "true"
	case SandboxRelaxed:
		return "relaxed"
	case SandboxNone:
		return "false"
	}
	return fmt.Sprintf("SandboxMode(%d)", int(m))
}

// A SandboxPath is a file or directory of this machine that sandboxed builders see.
type SandboxPath struct {
	Target   string // in the sandbox
	Source   string // on this machine; "" is Target
	Optional bool   // it may be missing
	ReadOnly bool   // and nosuid, nodev; otherwise builders may write where the permissions allow it
}
