package sandbox

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A job is a process that the supervisor starts and watches.
type job struct {
	launch
	conn   *os.File // to the caller, for events; the process must end when the caller closes it
	socket *os.File // for the process itself
	output *os.File
	mounts *os.File   // for mounts of a keeper, or nil
	cgroup *os.File   // or nil
	locks  []*os.File // closed when the process and its descendants have ended
}

// supervise is the supervisor. It starts processes until the caller closes the control socket or ends. Then it waits
// for the end of its children, which also lose their caller, and ends. The death signal kills children that remain.
func supervise() int {
	// The death signal of a child belongs to the thread that forks it. All children are forked from
	// this thread, which lives as long as the supervisor.
	runtime.LockOSThread()
	closeInherited(executableFD + 1)
	if err := os.Chdir("/"); err != nil {
		return 1
	}
	leaveCaller()
	syscall.CloseOnExec(socketFD)
	syscall.CloseOnExec(executableFD)
	control := os.NewFile(socketFD, "control")
	if _, err := control.WriteString(greeting); err != nil {
		return 1
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 1
	}
	s := &supervisor{null: null, executable: os.NewFile(executableFD, "executable"), capabilities: allCapabilities(), spares: openSpares()}
	jobs := make(chan *job)
	go func() {
		defer close(jobs)
		for {
			data, files, err := receiveFiles(control, maxLaunch, maxDescriptors)
			if err != nil {
				return
			}
			j, err := newJob(data, files)
			if err != nil {
				closeFiles(files)
				return
			}
			jobs <- j
		}
	}()
	s.serve(jobs)
	s.await()
	return 0
}

// serve starts processes for jobs. It starts spares when no job waits.
func (s *supervisor) serve(jobs <-chan *job) {
	defer s.discardSpares()
	idle := time.NewTimer(spareTime)
	for {
		var j *job
		var ok bool
		select {
		case j, ok = <-jobs:
		default:
			s.prepareSpare()
			select {
			case j, ok = <-jobs:
			case <-idle.C:
				s.discardSpares()
				continue
			}
		}
		if !ok {
			return
		}
		s.start(j)
		idle.Reset(spareTime)
	}
}

// closeInherited closes the descriptors from first on that the caller inherited from its parent and passed on. It
// leaves descriptors with the close-on-exec flag, which belong to the Go runtime.
func closeInherited(first int) {
	entries, err := os.ReadDir("/proc/self/fd")
	last := 65536
	if err == nil {
		last = first
		for _, e := range entries {
			if n, err := strconv.Atoi(e.Name()); err == nil {
				last = max(last, n)
			}
		}
	}
	for fd := first; fd <= last; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// leaveCaller drops the groups and sets the limits that children would inherit from the caller. It ignores errors:
// the set-up process checks both again, and reports them.
func leaveCaller() {
	if unix.Geteuid() == 0 {
		_ = unix.Setgroups(nil)
	}
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: unix.RLIM_INFINITY})
}

// allCapabilities returns the capabilities that this kernel knows.
func allCapabilities() []uintptr {
	var all []uintptr
	for c := uintptr(0); ; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil {
			return all
		}
		all = append(all, c)
	}
}

func newJob(data []byte, files []*os.File) (*job, error) {
	j := new(job)
	if err := decode(data, &j.launch); err != nil {
		return nil, err
	}
	wanted := []**os.File{&j.conn}
	if j.role != roleKill {
		wanted = append(wanted, &j.socket, &j.output)
	}
	if j.launch.mounts {
		wanted = append(wanted, &j.mounts)
	}
	if j.launch.cgroup {
		wanted = append(wanted, &j.cgroup)
	}
	if j.launch.locks < 0 || len(files) != len(wanted)+j.launch.locks {
		return nil, errMalformed
	}
	for i, f := range wanted {
		*f = files[i]
	}
	j.locks = files[len(wanted):]
	return j, nil
}

// A supervisor has the files and capabilities that all its children get.
type supervisor struct {
	null, executable *os.File
	capabilities     []uintptr
	remounted        map[string]bool
	watching         sync.WaitGroup // for the ends of processes
	spares           *spares
}

// await waits until all processes have ended. A process in an uninterruptible system call does not keep it longer than
// the caller would wait.
func (s *supervisor) await() {
	ended := make(chan struct{})
	go func() {
		s.watching.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(endTime):
	}
}

// start starts a process and reports the result. It closes the descriptors that only the process needs.
func (s *supervisor) start(j *job) {
	if j.role == roleKill {
		// No process is forked while a thread of this one has another user.
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			killUser(j)
		}()
		<-killed
		return
	}
	step, process, handle, err := s.startProcess(j)
	for _, f := range []*os.File{j.output, j.socket, j.mounts, j.cgroup} {
		if f != nil {
			f.Close()
		}
	}
	if err != nil {
		_ = sendFiles(j.conn, encode(failure(step, err)))
		j.conn.Close()
		closeFiles(j.locks)
		return
	}
	var rights []*os.File
	if handle != nil {
		defer handle.Close()
		rights = append(rights, handle)
	}
	s.spares.launched(j)
	if err := sendFiles(j.conn, encode(&event{ok: true}), rights...); err != nil {
		_ = process.Kill()
	}
	s.watching.Go(func() { watch(j, process) })
}

// startProcess starts a process, or gives the job to a spare. It returns the process and a pidfd of it, which is nil on kernels
// before 5.3. If that fails, it returns the step that has failed.
func (s *supervisor) startProcess(j *job) (step string, process *os.Process, handle *os.File, err error) {
	if err := s.remount(j.launch.remount); err != nil {
		return "making " + j.launch.remount + " writable", nil, nil, err
	}
	if p := s.take(j); p != nil {
		return stepStart, p.process, p.handle, nil
	}
	attr := s.attributes(j)
	process, handle, err = s.forkWithHandle(j, attr)
	if err != nil && len(s.spares.waiting) > 0 {
		process, handle, err = s.forkWithoutSpares(j, attr)
	}
	if err == nil || !j.namespaces {
		return stepStart, process, handle, err
	}
	step, err = s.diagnose(j, err)
	closePipes()
	return step, nil, nil, err
}

// forkWithHandle starts the process of a job, and returns a pidfd of it too.
func (s *supervisor) forkWithHandle(j *job, attr *syscall.SysProcAttr) (process *os.Process, handle *os.File, err error) {
	pidfd := -1
	attr.PidFD = &pidfd
	process, err = s.fork(j, attr)
	if err == nil && pidfd >= 0 {
		handle = os.NewFile(uintptr(pidfd), "process")
	}
	return process, handle, err
}

// closePipes closes the pipes that package syscall leaves open if clone fails with users to map. The supervisor has
// no other pipes, and only this goroutine forks.
func closePipes() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if fd, numErr := strconv.Atoi(e.Name()); err == nil && numErr == nil && strings.HasPrefix(target, "pipe:") {
			unix.Close(fd)
		}
	}
}

// fork starts the process of a job. Its error does not contain the name of this program.
func (s *supervisor) fork(j *job, attr *syscall.SysProcAttr) (*os.Process, error) {
	var more []*os.File
	if j.mounts != nil {
		more = append(more, j.mounts)
	}
	arguments := j.arguments()
	if root := j.memoryRoot(); root != nil {
		defer root.Close()
		more = append(more, root)
		arguments = append(arguments, memoryRoot)
	}
	return s.execute(j, attr, arguments, more...)
}

// execute executes this program as the process of a job, which inherits more files.
func (s *supervisor) execute(j *job, attr *syscall.SysProcAttr, arguments []string, more ...*os.File) (*os.Process, error) {
	files := append([]*os.File{s.null, j.output, j.output, j.socket, s.executable}, more...)
	process, err := os.StartProcess("/proc/self/exe", arguments, &os.ProcAttr{Env: []string{}, Files: files, Sys: attr})
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		err = pathErr.Err
	}
	return process, err
}

// diagnose returns the step in which a process with namespaces cannot be started: Go reports only an error number. It
// starts processes that end at once.
func (s *supervisor) diagnose(j *job, err error) (string, error) {
	whole := s.attributes(j)
	user := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	mapped := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: whole.UidMappings, GidMappings: whole.GidMappings, GidMappingsEnableSetgroups: whole.GidMappingsEnableSetgroups,
	}
	capable := *mapped
	capable.AmbientCaps = whole.AmbientCaps
	type trial struct {
		what string
		attr *syscall.SysProcAttr
	}
	trials := []trial{{"a user namespace", user}, {"mapping users and groups", mapped}, {"keeping capabilities", &capable}}
	for what, flag := range map[string]uintptr{
		"a mount namespace": syscall.CLONE_NEWNS, "a PID namespace": syscall.CLONE_NEWPID, "an IPC namespace": syscall.CLONE_NEWIPC,
		"a UTS namespace": syscall.CLONE_NEWUTS, "a network namespace": innerNamespaces(j.network) & syscall.CLONE_NEWNET,
	} {
		attr := *mapped
		attr.Cloneflags |= flag
		trials = append(trials, trial{what, &attr})
	}
	quick := *j
	quick.role = roleNothing
	for _, t := range trials {
		process, trialErr := s.fork(&quick, t.attr)
		if trialErr != nil {
			return stepStart + ": " + t.what, trialErr
		}
		_, _ = process.Wait()
	}
	if j.cgroup != nil {
		return stepStart + ": entering its cgroup", err
	}
	return stepStart, err
}

// arguments returns the arguments of the process.
func (j *job) arguments() []string {
	if j.role == roleKeeper {
		return []string{j.role, strconv.FormatBool(j.network)}
	}
	return []string{j.role}
}

// attributes returns the attributes with which the process is forked.
func (s *supervisor) attributes(j *job) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if j.namespaces {
		attr.Pdeathsig = syscall.SIGKILL
		attr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
		if j.role != roleKeeper { // its child gets them
			attr.Cloneflags |= innerNamespaces(j.network)
		}
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: j.uid, HostID: j.hostUID, Size: j.ids}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: j.gid, HostID: j.hostGID, Size: j.ids}}
		attr.GidMappingsEnableSetgroups = j.ids > 1
		// The set-up process is not root in its namespace: without ambient capabilities its exec would drop all.
		attr.AmbientCaps = s.capabilities
	}
	if j.cgroup != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(j.cgroup.Fd())
	}
	return attr
}

// innerNamespaces returns the flags of the namespaces that a keeper does not share with its process.
func innerNamespaces(network bool) uintptr {
	flags := uintptr(syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS)
	if !network {
		flags |= syscall.CLONE_NEWNET
	}
	return flags
}

// watch waits for the end of a process and reports it. If the caller closes the connection before, a process with
// namespaces is killed; a reaper, or a keeper, sees the end of its own socket, and kills its descendants before it ends.
func watch(j *job, process *os.Process) {
	defer j.conn.Close()
	if j.role != roleReaper && j.role != roleKeeper {
		go func() {
			for {
				if _, _, err := receiveFiles(j.conn, 1, 0); err != nil {
					_ = process.Kill() // has no effect on a process that has ended
					return
				}
			}
		}()
	}
	state, err := process.Wait()
	closeFiles(j.locks) // before the caller learns of the end, and uses the locks for something else
	if err != nil {
		_ = sendFiles(j.conn, encode(failure("waiting for a process", err)))
		return
	}
	_ = sendFiles(j.conn, encode(ended(state)))
}

// ended returns the event of a process's end.
func ended(state *os.ProcessState) *event {
	e := &event{ok: true, status: int(state.Sys().(syscall.WaitStatus))}
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		e.user = time.Duration(usage.Utime.Nano())
		e.system = time.Duration(usage.Stime.Nano())
	}
	return e
}

// failure returns the event of a failed step.
func failure(step string, err error) *event {
	e := &event{step: step, text: err.Error()}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		e.errno = int(errno)
	}
	return e
}

// error returns the error of an event of a failed step.
func (e *event) error() error {
	if e.ok {
		return nil
	}
	return &SetupError{Step: e.step, Err: &remoteError{text: e.text, errno: syscall.Errno(e.errno)}}
}

// A remoteError is an error of another process.
type remoteError struct {
	text  string
	errno syscall.Errno // or 0
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error { return wrap(e.errno) }
