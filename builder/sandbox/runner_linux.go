package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A runner has the supervisor of a Runner.
type runner struct {
	mu         sync.Mutex
	supervisor *supervisorClient // nil before the first process and after Close

	checkMu sync.Mutex
	checked bool
	check   error
}

func (r *Runner) setHelper(file string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Helper = file
}

// Run runs a process: see the function [Run].
func (r *Runner) Run(ctx context.Context, req *Request, log io.Writer) (*Result, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	own := *req
	own.IDs = max(own.IDs, 1)
	if uid := unix.Geteuid(); uid != 0 {
		own.HostUID, own.HostGID = uid, unix.Getegid()
		own.KeepGroups = true // an ordinary user cannot give them up
	}
	if own.SharedMemory == "" {
		own.SharedMemory = "50%"
	}
	l := &launch{
		role: roleReaper, network: own.Network,
		uid: own.UID, gid: own.GID, hostUID: own.HostUID, hostGID: own.HostGID, ids: own.IDs, remount: own.Remount,
	}
	if own.Root != "" {
		l.role, l.namespaces, l.memory = roleSetup, true, own.Memory
		l.spare, l.sharedMemory = own.canUseSpare(), own.SharedMemory
	}
	if own.Live != nil {
		l.role, l.mounts, own.shared = roleKeeper, true, own.Live.dir
	}
	p, err := r.start(ctx, l, own.Cgroup, own.Locks...)
	if err != nil {
		return nil, withAdvice(err)
	}
	result, err := p.run(ctx, &own, log)
	return result, withAdvice(err)
}

// KillUser kills all processes of a user of this machine, which must not be root. Only root can do that.
func (r *Runner) KillUser(ctx context.Context, uid int) error {
	if uid <= 0 {
		return errors.New("sandbox: root's processes cannot be killed all at once")
	}
	for attempt := 0; ; attempt++ {
		// Killing again does no harm, so a supervisor that was killed meanwhile does not fail the build that waits.
		err := r.killUser(ctx, uid)
		if !errors.Is(err, ErrLost) || attempt == maxAttempts {
			return err
		}
	}
}

func (r *Runner) killUser(ctx context.Context, uid int) error {
	p, err := r.start(ctx, &launch{role: roleKill, hostUID: uid}, "")
	if err != nil {
		return err
	}
	defer p.close()
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	if _, err := p.end(); err != nil {
		return p.cause(ctx, err)
	}
	return nil
}

// Close ends the supervisor, and with it all processes that it runs. The Runner starts another one when it is used
// again.
func (r *Runner) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.supervisor == nil {
		return nil
	}
	err := r.supervisor.close()
	r.supervisor = nil
	return err
}

// maxAttempts bounds how often a supervisor that has died is replaced for one process.
const maxAttempts = 3

// start starts a process in a role. The supervisor keeps the locks until the process has ended. If the supervisor has
// ended, start starts another one.
func (r *Runner) start(ctx context.Context, l *launch, cgroup string, locks ...*os.File) (*process, error) {
	for attempt := 0; ; attempt++ {
		// A supervisor that ends before it has started the process has done nothing with it: the process waits for its
		// request, which only run sends.
		p, err := r.startOnce(ctx, l, cgroup, locks)
		if !errors.Is(err, ErrLost) || attempt == maxAttempts {
			return p, err
		}
	}
}

func (r *Runner) startOnce(ctx context.Context, l *launch, cgroup string, locks []*os.File) (*process, error) {
	p, theirs, err := newProcess(l, cgroup)
	if err != nil {
		return nil, err
	}
	defer closeFiles(theirs)
	sent := theirs
	if p.cgroup != nil {
		sent = append(sent, p.cgroup)
	}
	l.locks = len(locks)
	sent = append(sent, locks...)
	s, err := r.connect(ctx)
	if err != nil {
		p.close()
		return nil, err
	}
	if err := sendFiles(s.control, encode(l), sent...); err != nil {
		p.close()
		gone := errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
		if gone {
			r.drop(s)
		}
		if gone || !r.current(s) { // another goroutine has seen its end
			err = fmt.Errorf("%w: %w", ErrLost, err)
		}
		return nil, err
	}
	closeFiles(theirs) // the end of the log is the end of the last process that holds it
	stop := context.AfterFunc(ctx, func() {
		p.kill()
		_ = p.conn.SetReadDeadline(time.Now()) // the supervisor kills what it starts later
	})
	defer stop()
	if err := p.started(); err != nil {
		p.close()
		return nil, p.cause(ctx, err)
	}
	return p, nil
}

// connect returns the running supervisor, or starts one.
func (r *Runner) connect(ctx context.Context) (*supervisorClient, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.supervisor == nil {
		s, err := startSupervisor(ctx, r.Helper)
		if err != nil {
			return nil, err
		}
		r.supervisor = s
	}
	return r.supervisor, nil
}

// current reports whether a supervisor is the one that starts processes.
func (r *Runner) current(s *supervisorClient) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.supervisor == s
}

// drop ends a supervisor that does not answer.
func (r *Runner) drop(s *supervisorClient) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.supervisor == s {
		_ = s.close()
		r.supervisor = nil
	}
}

// A supervisorClient is the caller's side of a supervisor.
type supervisorClient struct {
	process *os.Process
	control *os.File
}

// answerTime is how long a supervisor may take to send its greeting. A program that does not call Main sends none,
// and may run forever.
const answerTime = 10 * time.Second

// startSupervisor starts a supervisor and waits for its greeting.
func startSupervisor(ctx context.Context, helper string) (*supervisorClient, error) {
	file := helper
	if file == "" {
		if !mainCalled.Load() {
			return nil, ErrNoMain
		}
		file = "/proc/self/exe"
	}
	executable := file
	if mainCalled.Load() {
		executable = "/proc/self/exe" // has the builtins of this program
	}
	ours, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	s := &supervisorClient{control: ours}
	if s.process, err = execSupervisor(file, executable, theirs); err != nil {
		ours.Close()
		return nil, err
	}
	theirs.Close()
	stop := context.AfterFunc(ctx, func() { _ = ours.SetReadDeadline(time.Now()) })
	defer stop()
	if err := ours.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := readGreeting(ours); err != nil {
		return nil, s.refused(ctx, file, err)
	}
	return s, nil
}

// refused ends a supervisor that did not answer and returns why it did not.
func (s *supervisorClient) refused(ctx context.Context, file string, err error) error {
	_ = s.control.Close()
	timeout := errors.Is(err, os.ErrDeadlineExceeded)
	if timeout {
		_ = s.process.Kill()
		err = fmt.Errorf("it did not answer within %v", answerTime)
	}
	state, waitErr := s.process.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case waitErr != nil:
		return waitErr
	case !timeout && state.Sys().(syscall.WaitStatus).Signaled():
		return fmt.Errorf("%w: %v", ErrLost, state)
	}
	return &HelperError{File: file, Err: err}
}

// execSupervisor executes a supervisor, in a session of its own so that it gets no signals of a terminal.
func execSupervisor(file, executable string, control *os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	program, err := os.Open(executable)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	return os.StartProcess(file, []string{roleSupervisor}, &os.ProcAttr{
		Env:   []string{},
		Files: []*os.File{null, null, null, control, program},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// close ends the supervisor and waits for its end.
func (s *supervisorClient) close() error {
	err := s.control.Close()
	killErr := s.process.Kill()
	if errors.Is(killErr, os.ErrProcessDone) {
		killErr = nil
	}
	_, waitErr := s.process.Wait()
	return errors.Join(err, killErr, waitErr)
}
