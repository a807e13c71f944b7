package sandbox

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A builtin must run with the rights of a build. Go cannot set these for all threads of a process, so a builtin runs
// in a new process that executes this program again. If this program is linked dynamically, its loader needs the
// libraries of the machine. So the builtin's process starts before the set-up process calls pivot_root, which changes
// the root directory of all processes in the mount namespace.

// startBuiltin starts the builtin's process and waits until it is loaded.
func (s *setup) startBuiltin() error {
	if err := keepToSelf(); err != nil {
		return err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s.sync = os.NewFile(uintptr(fds[0]), "sync")
	theirs := os.NewFile(uintptr(fds[1]), "sync")
	program := fmt.Sprintf("/proc/self/fd/%d", executableFD)
	s.builtin, err = os.StartProcess(program, []string{roleBuiltin}, &os.ProcAttr{
		// The C library would look for the configuration and libraries of its resolver.
		Env:   append(s.req.Env[:len(s.req.Env):len(s.req.Env)], "GODEBUG=netdns=go"),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, s.socket, s.executable, theirs},
		Sys:   &syscall.SysProcAttr{Credential: s.credential(), Pdeathsig: syscall.SIGKILL},
	})
	theirs.Close()
	if err != nil {
		return err
	}
	_, err = io.ReadFull(s.sync, make([]byte, 1))
	return err
}

// credential returns the user of the process, or nil if this process has it already.
func (s *setup) credential() *syscall.Credential {
	switch {
	case s.req.Root != "":
		return &syscall.Credential{Uid: uint32(s.req.UID), Gid: uint32(s.req.GID), NoSetGroups: true}
	case unix.Geteuid() != 0 || s.req.HostUID == 0:
		return nil
	}
	groups := make([]uint32, len(s.req.Groups))
	for i, g := range s.req.Groups {
		groups[i] = uint32(g)
	}
	return &syscall.Credential{Uid: uint32(s.req.HostUID), Gid: uint32(s.req.HostGID), Groups: groups}
}

// waitBuiltin lets the builtin run and returns its exit code. A signal cannot end PID 1 of a namespace, so it is an
// exit code, as in a shell.
func (s *setup) waitBuiltin() int {
	if _, err := s.sync.Write([]byte{1}); err != nil {
		return 1
	}
	state, err := s.builtin.Wait()
	if err != nil {
		return 1
	}
	if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// builtinMain is the process of a builtin. It reports that it is loaded, waits until the set-up is complete, and
// runs the builtin that the caller names.
func builtinMain() int {
	for _, fd := range []int{socketFD, executableFD, syncFD} {
		syscall.CloseOnExec(fd)
	}
	unix.Close(executableFD)
	sync, socket := os.NewFile(syncFD, "sync"), os.NewFile(socketFD, "socket")
	if _, err := sync.Write([]byte{1}); err != nil {
		return 1
	}
	if _, err := io.ReadFull(sync, make([]byte, 1)); err != nil {
		return 1
	}
	var call builtinCall
	if err := readMessage(socket, &call); err != nil {
		return 1
	}
	sync.Close()
	socket.Close()
	if err := os.Chdir(call.dir); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return runBuiltin(call.name, call.input)
}
