package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is the caller's side of a process that a supervisor runs.
type process struct {
	conn   *os.File // to the supervisor: events; shut down means kill
	socket *os.File // to the set-up process, or to the reaper; nil for a kill
	log    *os.File // what the process writes; nil for a kill
	mounts *os.File // to the keeper, or nil
	cgroup *os.File // or nil
	reaper bool     // it is a reaper or a keeper, which must end by itself

	handle atomic.Pointer[os.File] // a pidfd; nil before the start, and on kernels before 5.3
}

// newProcess returns a process that is not started, and the files that the supervisor gets.
func newProcess(l *launch, cgroup string) (*process, []*os.File, error) {
	p := &process{reaper: l.role == roleReaper || l.role == roleKeeper}
	theirs, err := p.open(l, cgroup)
	if err != nil {
		closeFiles(theirs)
		p.close()
		return nil, nil, err
	}
	l.cgroup = p.cgroup != nil
	return p, theirs, nil
}

// open opens the files of a process and returns those that the supervisor gets, also if it fails.
func (p *process) open(l *launch, cgroup string) (theirs []*os.File, err error) {
	var f *os.File
	if p.conn, f, err = socketPair(unix.SOCK_SEQPACKET); err != nil {
		return theirs, err
	}
	theirs = append(theirs, f)
	if l.role == roleKill {
		return theirs, nil
	}
	if p.socket, f, err = socketPair(unix.SOCK_STREAM); err != nil {
		return theirs, err
	}
	theirs = append(theirs, f)
	if p.log, f, err = openTerminal(l.hostUID, l.hostGID); err != nil {
		return theirs, &SetupError{Step: "opening a pseudo terminal", Err: err}
	}
	theirs = append(theirs, f)
	if l.mounts {
		if p.mounts, f, err = socketPair(unix.SOCK_STREAM); err != nil {
			return theirs, err
		}
		theirs = append(theirs, f)
	}
	if cgroup != "" {
		p.cgroup, err = os.OpenFile(cgroup, unix.O_DIRECTORY, 0)
	}
	return theirs, err
}

func (p *process) close() {
	for _, f := range []*os.File{p.conn, p.socket, p.log, p.mounts, p.cgroup, p.handle.Load()} {
		if f != nil {
			f.Close()
		}
	}
}

// started waits until the supervisor has started the process.
func (p *process) started() error {
	e, files, err := p.event()
	if err == nil {
		err = e.error()
	}
	if err != nil {
		closeFiles(files)
		return err
	}
	if len(files) == 1 {
		p.handle.Store(files[0])
	}
	return nil
}

// event receives an event of the supervisor. The end of the connection is the end of the supervisor.
func (p *process) event() (*event, []*os.File, error) {
	data, files, err := receiveFiles(p.conn, maxLaunch, 1)
	if err != nil {
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
			err = ErrLost
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = fmt.Errorf("a process did not end within %v of SIGKILL", endTime)
		}
		return nil, nil, err
	}
	e := new(event)
	return e, files, decode(data, e)
}

// endTime bounds how long a killed process may take to end. One in an uninterruptible system call takes longer, and
// so does a supervisor that was stopped.
const endTime = 2 * killTime

// kill kills the process and its descendants. It returns at once, and can be called more than once.
func (p *process) kill() {
	deadline := time.Now().Add(endTime)
	_ = p.conn.SetReadDeadline(deadline)
	_ = shutdown(p.conn)
	if p.socket != nil {
		_ = p.socket.SetDeadline(deadline)
		_ = shutdown(p.socket)
	}
	if handle := p.handle.Load(); handle != nil && !p.reaper {
		if fd, err := descriptor(handle); err == nil {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
	}
}

// end waits for the end of the process, as the supervisor reports it. If the supervisor is gone, it kills the process.
func (p *process) end() (*event, error) {
	e, _, err := p.event()
	if err != nil {
		p.kill()
		return nil, err
	}
	return e, e.error()
}

// cause returns why an operation failed: the end of ctx, if it has ended, or err.
func (p *process) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// drainTime bounds for how long what a process has written is read after its end. Only a process
// that could not be killed holds the terminal longer.
const drainTime = time.Second

// run sets the process up, copies its output and waits for its end. It closes the process.
func (p *process) run(ctx context.Context, req *Request, log io.Writer) (*Result, error) {
	defer p.close()
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	p.reportStart(log)

	ended := make(chan struct{})
	copied := make(chan error, 1)
	go func() {
		err := p.copyLog(log)
		if err == nil {
			awaitEnd(ended)
		}
		p.kill() // the process goes on without output, or log failed
		copied <- err
	}()
	var end *event
	var endErr error
	go func() {
		defer close(ended)
		end, endErr = p.end()
	}()

	report, setupErr := p.setUp(req)
	if setupErr != nil {
		p.kill()
	}
	<-ended
	if p.cgroup != nil {
		killCgroup(p.cgroup)
	}
	_ = p.log.SetReadDeadline(time.Now().Add(drainTime))
	logErr := <-copied
	if p.reaper {
		end = report
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case logErr != nil:
		return nil, logErr
	case endErr != nil:
		return nil, endErr
	case setupErr != nil:
		return nil, setupErr
	}
	return end.result()
}

// closedTime is how long a process may run after it has closed its output. Many programs close it explicitly just before
// they exit, to see write errors. On a busy machine they need some time for these last steps, and killing them then would
// turn their success into a failure.
const closedTime = time.Second

// awaitEnd waits until a process that has closed its output has ended, for at most closedTime.
func awaitEnd(ended <-chan struct{}) {
	timer := time.NewTimer(closedTime)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
}

// setUp gives the set-up process the request and lets it execute the program. For a reaper, it returns the report of
// the program's end.
func (p *process) setUp(req *Request) (report *event, err error) {
	if p.mounts != nil {
		// If the keeper has ended, the greeting is missing, and that is the error.
		_ = writeMessage(p.mounts, &keeperStart{root: req.Root, dir: req.shared, hostUID: req.HostUID})
	}
	if err := readGreeting(p.socket); err != nil {
		return nil, fmt.Errorf("%w: the set-up process: %w", ErrLost, err)
	}
	own := *req
	own.Input = nil
	writeErr := writeMessage(p.socket, &own)
	var reply event
	if err := readMessage(p.socket, &reply); err != nil {
		return nil, fmt.Errorf("%w: the set-up process: %w", ErrLost, errors.Join(writeErr, err))
	}
	if err := reply.error(); err != nil {
		return nil, err
	}
	// The process now gets a death signal when the supervisor ends. If the supervisor ended before, there is
	// none, so the process does not get the byte that it waits for.
	if p.supervisorEnded() {
		return nil, ErrLost
	}
	if req.Live != nil {
		defer req.Live.attach(p.mounts)()
	}
	if _, err := p.socket.Write([]byte{1}); err != nil {
		return nil, fmt.Errorf("%w: the set-up process: %w", ErrLost, err)
	}
	if req.Builtin != "" {
		// A builtin that ends before it has read its input has said why.
		_ = writeMessage(p.socket, &builtinCall{name: req.Builtin, dir: req.Dir, input: req.Input})
	}
	if !p.reaper {
		return nil, nil
	}
	report = new(event)
	if err := readMessage(p.socket, report); err != nil {
		return nil, fmt.Errorf("%w: the reaper: %w", ErrLost, err)
	}
	return report, report.error()
}

// supervisorEnded reports whether the supervisor has closed the connection.
func (p *process) supervisorEnded() bool {
	fd, err := descriptor(p.conn)
	if err != nil {
		return true
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return n > 0 && err == nil
}

// copyLog copies the output until all processes that hold the terminal have ended, or the deadline has passed.
func (p *process) copyLog(log io.Writer) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := p.log.Read(buf)
		if n > 0 {
			if _, err := log.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, unix.EIO), errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return p.drain(log, buf)
		default:
			return err
		}
	}
}

// maxBuffered is more than the kernel buffers for a terminal.
const maxBuffered = 1 << 20

// drain copies the rest of the output that the kernel has buffered. After a deadline, Read would no longer return it,
// and a slow log may have reached the deadline.
func (p *process) drain(log io.Writer, buf []byte) error {
	conn, err := p.log.SyscallConn()
	if err != nil {
		return err
	}
	for total := 0; total < maxBuffered; {
		var n int
		var readErr error
		if err := conn.Control(func(fd uintptr) { n, readErr = unix.Read(int(fd), buf) }); err != nil {
			return err
		}
		if readErr == unix.EINTR {
			continue
		}
		if readErr != nil || n <= 0 { // EAGAIN if a process still holds the terminal, otherwise EIO
			return nil
		}
		if _, err := log.Write(buf[:n]); err != nil {
			return err
		}
		total += n
	}
	return nil
}

// result returns the result of a process that has ended.
func (e *event) result() (*Result, error) {
	status := syscall.WaitStatus(e.status)
	r := &Result{ExitCode: status.ExitStatus(), CPUUser: e.user, CPUSystem: e.system}
	if status.Signaled() {
		r.ExitCode, r.Signal = -1, int(status.Signal())
	}
	return r, nil
}

// killCgroup kills the processes of a cgroup and waits until it is empty.
func killCgroup(dir *os.File) {
	for deadline := time.Now().Add(killTime); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if !killMembers(dir) {
			return
		}
	}
}

// killMembers kills the processes of a cgroup and reports whether it had any.
func killMembers(dir *os.File) bool {
	fd, err := descriptor(dir)
	if err != nil {
		return false
	}
	open := func(name string, flags int) (*os.File, error) {
		f, err := unix.Openat(fd, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(f), filepath.Join(dir.Name(), name)), nil
	}
	if f, err := open("cgroup.kill", unix.O_WRONLY); err == nil { // since Linux 5.14
		_, _ = f.WriteString("1")
		f.Close()
	}
	f, err := open("cgroup.procs", unix.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	members, err := io.ReadAll(f)
	for member := range strings.Lines(string(members)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(member)); err == nil && pid > 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	return err == nil && len(members) > 0
}
