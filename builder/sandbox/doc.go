// Package sandbox runs one process, isolated from the machine or not. It knows nothing of Nix.
//
// A [Request] describes the process: its program, arguments and environment, the directory that it sees as /, the
// files and directories that are mounted there, and its user. [Run] starts it, copies its output to a writer and
// waits for its end. When Run returns, no process, mount or descriptor of it is left.
//
// # Processes
//
// Namespaces cannot be made in a program with many threads, and a fork of a large program is slow. So the first [Run]
// of a program starts a small supervisor, which forks the processes. The supervisor and its children are the program
// itself, executed again. Therefore
//
//	func main() {
//		sandbox.Main()
//		…
//	}
//
// must be the first call of a program that runs processes, and the first one of TestMain in its tests: it does not
// return in a supervisor. A program without this call sets [Runner.Helper] to an installed pix-sandbox.
//
//	program ── supervisor ──┬─ set-up process ─exec→ the process, PID 1 of its namespaces
//	                        └─ reaper ── set-up process ─exec→ the process, without namespaces
//
// The set-up process makes what the process sees: mounts, /dev, /proc, a loopback interface. It gives up all
// rights, loads the system call filter and executes the program. A process without namespaces has a reaper
// as its parent, which kills its descendants when it ends. A process with [Request.Live] has a keeper as its parent, which
// adds mounts while it runs.
//
// If root runs many short processes, the supervisor starts set-up processes before they are needed. Such a spare serves one
// process, and ends if it gets no request within a second.
//
// # Isolation
//
// With [Request.Root], the process has user, mount, PID, IPC, UTS and cgroup namespaces of its own, and a network
// namespace unless [Request.Network] is set. An ordinary user can run it without the help of other programs,
// if the kernel allows user namespaces; [Check] tries and says what to enable.
//
// A process sees what it sees in the sandbox of Nix 2.34, except where it could harm its inputs or the machine:
//
//   - Read-only mounts, and the root directory, are read-only. In Nix, a builder without a build user can change its
//     inputs.
//   - A process that is root on the machine, since root runs it without a build user, sees /proc/sys and the like
//     read-only, and devices too, which can be used but not changed. Their files belong to root: it could write to
//     /proc/sys/kernel/core_pattern without any capability.
//   - More system calls are denied, see below.
//   - It has a session keyring and a cgroup namespace of its own. It cannot make another cgroup namespace, in which it could
//     mount the cgroup of the caller, unless it has a cgroup or a range of users of its own.
//
// A process ends when its first process ends. If it closes its output and then runs for another second, it is
// killed. Nix kills it at once, which can hit a program that closes its output just before it exits. A process in
// the background does not keep [Run] from returning, also without namespaces.
//
// Every process, with namespaces or without, has no_new_privs set, belongs to a new session keyring, cannot reach
// abstract sockets of other processes (Linux 6.12 and later), and has a system call filter. The filter denies
// set-user-ID modes (EPERM), extended attributes (ENOTSUP) and io_uring (ENOSYS), which could set both, for each
// system call interface of the machine.
package sandbox
