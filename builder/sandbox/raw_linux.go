package sandbox

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file has the system calls with pointers that golang.org/x/sys/unix does not wrap, or wraps for all threads: a
// set-up process changes its one locked thread and then executes a program from it.

// loadFilter loads a system call filter for this thread and the program that it executes.
func loadFilter(program []instruction) error {
	code := make([]unix.SockFilter, len(program))
	for i, in := range program {
		code[i] = unix.SockFilter{Code: in.code, Jt: in.jt, Jf: in.jf, K: in.k}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(code)
	return wrap(errno)
}

// landlockABI returns the version of the kernel's Landlock, or 0.
func landlockABI() int {
	v, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// scopeAbstractSockets denies connections to abstract sockets of other processes, for this thread and the program
// that it executes. It needs Landlock 6.
func scopeAbstractSockets() error {
	// struct landlock_ruleset_attr: handled_access_fs, handled_access_net, scoped.
	attr := [3]uint64{0, 0, 1 /* LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET */}
	fd, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(fd))
	_, _, errno = unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
	return wrap(errno)
}

// resetSignals gives all signals their default action. A signal that the caller's parent ignored, such as SIGHUP
// under nohup or SIGPIPE, would be ignored by the program too. Afterwards this process must execute the program soon:
// the Go runtime no longer handles preemptions and faults.
func resetSignals() error {
	var action [4]uint64 // struct sigaction: all zero is SIG_DFL, no flags, an empty mask
	for sig := uintptr(1); sig <= 64; sig++ {
		if sig == uintptr(unix.SIGKILL) || sig == uintptr(unix.SIGSTOP) || sig == uintptr(unix.SIGURG) {
			continue // Go preempts threads with SIGURG, and exec resets its handler
		}
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
		if errno != 0 {
			return errno
		}
	}
	return unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
}

// setIDs changes the user and group of this thread. The functions of package syscall would change all threads, which
// is not needed before an exec.
func setIDs(uid, gid int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGID, uintptr(gid), 0, 0); errno != 0 {
		return errno
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETUID, uintptr(uid), 0, 0)
	return wrap(errno)
}

// setFileIDs changes the user and group of the files that this thread makes. It clears the death signal.
func setFileIDs(uid, gid int) {
	// These calls return no errors.
	unix.RawSyscall(unix.SYS_SETFSGID, uintptr(gid), 0, 0)
	unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0)
}

// resetFileIDs gives the files that this thread makes the user and group of the thread. The namespace may have no number
// for them, so it makes a change of the thread's users that changes nothing else.
func resetFileIDs() {
	const same = ^uintptr(0)
	unix.RawSyscall(unix.SYS_SETREUID, same, same, 0)
	unix.RawSyscall(unix.SYS_SETREGID, same, same, 0)
}

// wrap returns errno as an error, or nil for 0.
func wrap(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
