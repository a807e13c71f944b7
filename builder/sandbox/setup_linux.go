package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A setup is the work of a set-up process: it makes the sandbox around itself and then becomes the program.
type setup struct {
	req    Request
	root   *tree // nil without namespaces
	parent int   // 0 with namespaces

	prepared bool // this is a spare: see spareSteps

	socket, executable *os.File
	fileDirs           []int // of Files, with O_PATH

	builtin *os.Process // or nil
	sync    *os.File    // to the builtin
}

// A step is one step of a set-up. Its text completes "setting up the sandbox: ".
type step struct {
	text string
	do   func() error
}

// Steps for which there is advice of their own.
const (
	stepStart  = "starting a process in new namespaces"
	stepFilter = "loading the system call filter"
	stepGroups = "dropping supplementary groups"
	stepRoot   = "entering the root directory"
)

// A stepError replaces the text of a step with a more precise one.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// setUp is the set-up process. It reports a failed step on its socket; otherwise it reports that it is ready, waits
// for a byte, and executes the program. The end of the socket before that byte means that the caller, or the
// supervisor, has ended.
func setUp() int {
	// Users, capabilities, filters and personality belong to a thread. This one executes the program, and all others
	// end then.
	runtime.LockOSThread()
	s := &setup{socket: os.NewFile(socketFD, "socket"), executable: os.NewFile(executableFD, "executable"), parent: unix.Getppid()}
	return s.serve()
}

// serve receives the request and executes its program.
func (s *setup) serve() int {
	socket := s.socket
	if _, err := socket.WriteString(greeting); err != nil {
		return 1
	}
	if err := readMessage(socket, &s.req); err != nil {
		return 1
	}
	for _, st := range s.steps() {
		if err := st.do(); err != nil {
			if err == errParentEnded {
				return 1 // without a message: the machine has not refused a step
			}
			if e, ok := errors.AsType[*stepError](err); ok {
				st.text, err = e.step, e.err
			}
			_ = writeMessage(socket, failure(st.text, err))
			return 1
		}
	}
	if err := writeMessage(socket, &event{ok: true}); err != nil {
		return 1
	}
	if _, err := io.ReadFull(socket, make([]byte, 1)); err != nil {
		return 1
	}
	return s.execute()
}

// steps returns the steps of the set-up in their order.
func (s *setup) steps() []step {
	var steps []step
	if !s.prepared {
		steps = s.firstSteps()
	}
	steps = append(steps, step{"setting the personality", s.setPersonality})
	switch {
	case s.prepared:
		steps = append(steps, s.preparedSteps()...)
	case s.req.Root != "":
		steps = append(steps, step{stepFilter, s.loadFilter}, step{stepGroups, s.checkGroups})
		steps = append(append(steps, s.namespaceSteps()...), s.mountSteps()...)
	default:
		steps = append(steps, step{stepFilter, s.loadFilter})
	}
	if s.req.Builtin != "" {
		steps = append(steps, step{"starting the builtin " + s.req.Builtin, s.startBuiltin})
	}
	if s.req.Root != "" {
		steps = append(steps, s.pivotSteps()...)
	}
	return append(steps, []step{
		{"becoming the user of the process", s.becomeUser},
		{"setting the death signal", s.setDeathSignal},
		{"changing to the directory " + s.req.Dir, func() error { return unix.Chdir(s.req.Dir) }},
		{"dropping capabilities", s.dropCapabilities},
	}...)
}

// firstSteps returns the first steps, which do not depend on the request.
func (s *setup) firstSteps() []step {
	return []step{
		{"setting the umask", func() error { unix.Umask(0o022); return nil }},
		{"joining a new session keyring", joinKeyring},
		{"setting no_new_privs", func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
		{"restricting abstract sockets", func() error {
			if landlockABI() < 6 {
				return nil
			}
			return scopeAbstractSockets()
		}},
		{"setting resource limits", setLimits},
	}
}

// setDeathSignal sets the death signal again: becoming another user cleared it. The parent may have died in between.
// Without namespaces, the process then has another parent. With them, the caller sees the end of the supervisor, and this
// process the end of a keeper.
func (s *setup) setDeathSignal() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if unix.Getppid() != s.parent || s.req.shared != "" && hasHungUp(lifeFD) {
		return errParentEnded
	}
	return nil
}

var errParentEnded = errors.New("the parent has ended")

// namespaceSteps returns the steps for the namespaces of a process, except mounts.
func (s *setup) namespaceSteps() []step {
	steps := []step{
		{"making a cgroup namespace", func() error { return unix.Unshare(unix.CLONE_NEWCGROUP) }},
		{"setting the host name", func() error { return unix.Sethostname([]byte("localhost")) }},
		{"setting the domain name", func() error { return unix.Setdomainname([]byte("(none)")) }},
	}
	if !s.req.Network {
		steps = append(steps, step{"bringing up the loopback interface", loopbackUp})
	}
	return steps
}

// joinKeyring replaces the session keyring of the caller, whose keys the process could read. It ignores errors of
// machines without keyrings, and of containers that deny them to all processes.
func joinKeyring() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if err == unix.ENOSYS || err == unix.EPERM || err == unix.EACCES {
		return nil
	}
	return err
}

// checkGroups returns an error if root still has supplementary groups, which the supervisor tried to give up.
func (s *setup) checkGroups() error {
	groups, err := unix.Getgroups()
	if err == nil && len(groups) > 0 && !s.req.KeepGroups {
		return unix.EPERM
	}
	return err
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_LOOPBACK | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// maxFiles bounds the number of open files, as Nix does: some programs close all possible descriptors one by one.
const maxFiles = 1 << 20

// setLimits sets resource limits: no core dumps, and as many open files as the caller may have.
func setLimits() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: unix.RLIM_INFINITY}); err != nil {
		var limit unix.Rlimit // the hard limit cannot be raised
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
			return err
		}
		limit.Cur = 0
		if err := unix.Setrlimit(unix.RLIMIT_CORE, &limit); err != nil {
			return err
		}
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	files.Max = min(files.Max, maxFiles)
	files.Cur = files.Max
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &files)
}

// Personalities of <linux/personality.h>.
const (
	addrNoRandomize = 0x0040000
	uname26         = 0x0020000
	perLinux32      = 0x0000008
)

// setPersonality disables address randomisation, so that runs are equal, and makes the machine a 32-bit one if the
// request has such a system.
func (s *setup) setPersonality() error {
	p, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	if errno != 0 {
		return nil // a container denies it
	}
	needed := is32Bit(runtime.GOARCH, s.req.System)
	if needed {
		p |= perLinux32
	}
	if s.req.Linux26 {
		p |= uname26
	}
	_, _, errno = unix.RawSyscall(unix.SYS_PERSONALITY, p|addrNoRandomize, 0, 0)
	if errno != 0 && needed {
		return errno
	}
	return nil
}

// is32Bit reports whether a machine runs processes of a system as 32-bit ones.
func is32Bit(goarch, system string) bool {
	switch goarch {
	case "amd64":
		return system == "i686-linux"
	case "arm64":
		return system == "armv7l-linux" || system == "armv6l-linux" || system == "armv5tel-linux"
	}
	return false
}

// becomeUser changes to the user of the process: UID with namespaces, HostUID without.
func (s *setup) becomeUser() error {
	if s.req.Root != "" {
		return setIDs(s.req.UID, s.req.GID)
	}
	if unix.Geteuid() != 0 || s.req.HostUID == 0 {
		return nil
	}
	if err := unix.Setgroups(s.req.Groups); err != nil {
		return err
	}
	return setIDs(s.req.HostUID, s.req.HostGID)
}

// dropCapabilities drops the capabilities in the user namespace of the process. The change of the user has not
// dropped them, because the previous user was not root in the namespace. A process with a range of users is root
// there, and keeps them.
func (s *setup) dropCapabilities() error {
	if s.req.Root == "" {
		return nil
	}
	if s.req.IDs > 1 {
		return keepToSelf()
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}

// keepToSelf makes the capabilities of this thread non-inheritable, so that a program that it executes does not get
// them unless it runs as root.
func keepToSelf() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0 // and with them the ambient ones
	return unix.Capset(&header, &data[0])
}

func (s *setup) loadFilter() error {
	interfaces := abis[runtime.GOARCH]
	if interfaces == nil {
		return fmt.Errorf("there is none for %s", runtime.GOARCH)
	}
	err := loadFilter(filter(interfaces))
	if s.req.OptionalFilter {
		return nil
	}
	return err
}

// execute executes the program. Its errors are output of the process, without a line feed, as in Nix.
func (s *setup) execute() int {
	if s.builtin != nil {
		return s.waitBuiltin()
	}
	syscall.CloseOnExec(socketFD)
	syscall.CloseOnExec(executableFD)
	if s.req.shared != "" {
		syscall.CloseOnExec(lifeFD)
	}
	err := resetSignals()
	if err == nil {
		err = syscall.Exec(s.req.Program, s.req.Args, s.req.Env)
	}
	fmt.Fprintf(os.Stderr, "error: executing '%s': %s", s.req.Program, systemText(err))
	return 1
}

// systemText returns the text of a system call's error as the C library spells it.
func systemText(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
