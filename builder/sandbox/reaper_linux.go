package sandbox

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reap is the reaper of a process without namespaces. It starts the set-up process, and waits until that process ends
// or the caller closes the socket. Then it kills all its descendants, which become its children when their own
// parents end. A background process would otherwise hold the terminal, and the caller would wait for its output
// forever.
func reap() int {
	runtime.LockOSThread() // the thread that forks: see supervise
	return reapSetUp(nil, 0, nil)
}

// reapSetUp starts a set-up process with new namespaces and a life line, or nil, and reaps it. Or it reports an error
// that has happened before.
func reapSetUp(before error, namespaces uintptr, life *os.File) int {
	syscall.CloseOnExec(socketFD)
	syscall.CloseOnExec(executableFD)
	socket := os.NewFile(socketFD, "socket")
	null, err := os.Open(os.DevNull)
	err = errors.Join(before, err)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	var child *os.Process
	if err == nil {
		files := []*os.File{null, os.Stdout, os.Stderr, socket, os.NewFile(executableFD, "executable")}
		if life != nil {
			files = append(files, life)
		}
		child, err = os.StartProcess("/proc/self/exe", []string{roleSetup}, &os.ProcAttr{
			Env:   []string{},
			Files: files,
			Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: namespaces},
		})
	}
	if err != nil {
		_, _ = io.WriteString(socket, greeting)
		step := "starting a process"
		if e, ok := errors.AsType[*stepError](err); ok {
			step, err = e.step, e.err
		}
		_ = writeMessage(socket, failure(step, err))
		return 1
	}
	// The caller treats the end of the output as the end of the process, so the reaper must not hold the output.
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(null.Fd()), fd, unix.O_CLOEXEC); err != nil {
			return 1
		}
	}
	// The reaper only writes its report to the socket. The set-up process reads the messages of the caller.
	ended := make(chan *event, 1)
	go func() { ended <- waitFor(child) }()
	gone := make(chan struct{})
	go func() {
		awaitHangup(socketFD)
		close(gone)
	}()
	var e *event
	select {
	case e = <-ended:
	case <-gone:
		_ = child.Kill()
		e = <-ended
	}
	killDescendants()
	_ = writeMessage(socket, e)
	return 0
}

// waitFor waits for the end of a child, kills its process group and returns its event.
func waitFor(child *os.Process) *event {
	for {
		err := unix.Waitid(unix.P_PID, child.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	_ = unix.Kill(-child.Pid, unix.SIGKILL) // before its number can belong to another process
	state, err := child.Wait()
	if err != nil {
		return failure("waiting for a process", err)
	}
	return ended(state)
}

// hasHungUp reports whether the other end of a pipe is closed.
func hasHungUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	for {
		n, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return err != nil || n > 0
		}
	}
}

// awaitHangup waits until the other side of a socket has been shut down.
func awaitHangup(fd int) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	for {
		n, err := unix.Poll(fds, -1)
		if err != unix.EINTR && (err != nil || n > 0) {
			return
		}
	}
}

// killTime limits how long a reaper tries to kill processes that fork as fast as they are killed.
const killTime = 5 * time.Second

// killDescendants kills all descendants of this process, which is a subreaper, and waits for their end. Without
// children there are no descendants.
func killDescendants() {
	for deadline := time.Now().Add(killTime); reapChildren() && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, pid := range descendants(os.Getpid()) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// reapChildren collects the children that have ended and reports whether there are others.
func reapChildren() bool {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil: // ECHILD: there are no children
			return false
		case pid == 0:
			return true
		}
	}
}

// descendants returns the processes that descend from a process, as /proc shows them.
func descendants(ancestor int) []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if parent, err := parentOf(name); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	found := append([]int(nil), children[ancestor]...)
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// parentOf returns the parent of a process.
func parentOf(pid string) (int, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	// The name of the program, in parentheses, may contain anything; the state and the parent follow it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, errMalformed
	}
	return strconv.Atoi(string(fields[1]))
}
