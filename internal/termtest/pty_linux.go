package termtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Terminal is a pseudo-terminal with a running command and a screen.
type Terminal struct {
	Command *exec.Cmd // the running command

	t       testing.TB
	control *os.File // the end of the test
	done    chan struct{}

	mu     sync.Mutex
	screen *Screen
}

// Start runs a command in a new session on a terminal with this size. The terminal is the standard output and error of the
// command, and the standard input if cmd.Stdin is nil. The command is killed at the end of the test.
func Start(t testing.TB, columns, rows int, cmd *exec.Cmd) *Terminal {
	t.Helper()
	control, end, err := open()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	defer end.Close()
	term := &Terminal{Command: cmd, t: t, control: control, done: make(chan struct{}), screen: NewScreen(columns, rows)}
	term.setSize(columns, rows)
	if cmd.Stdin == nil {
		cmd.Stdin = end
	}
	cmd.Stdout, cmd.Stderr = end, end
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1}
	if err := cmd.Start(); err != nil {
		control.Close()
		t.Fatal(err)
	}
	go term.read()
	t.Cleanup(func() {
		cmd.Process.Kill() // fails if it has ended
		<-term.done
		control.Close()
	})
	return term
}

// open opens both ends of a new pseudo-terminal.
func open() (control, end *os.File, err error) {
	control, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(control.Fd())
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
		var n int
		if n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err == nil {
			end, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
		}
	}
	if err != nil {
		control.Close()
		return nil, nil, err
	}
	return control, end, nil
}

// read writes the output to the screen until all processes have closed the other end.
func (t *Terminal) read() {
	defer close(t.done)
	buf := make([]byte, 64<<10)
	for {
		wait := []unix.PollFd{{Fd: int32(t.control.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(wait, -1); err == unix.EINTR {
			continue
		}
		// The lock is held from the read to the write, so Look never sees a screen without output that was read.
		t.mu.Lock()
		n, err := t.control.Read(buf)
		t.screen.Write(buf[:n])
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Look calls f with the screen, which does not change during the call.
func (t *Terminal) Look(f func(*Screen)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t.screen)
}

// Type sends keys to the command; "\x03" is Ctrl-C.
func (t *Terminal) Type(keys string) {
	t.t.Helper()
	if _, err := t.control.WriteString(keys); err != nil {
		t.t.Fatal(err)
	}
}

// Resize changes the size of the terminal, which sends SIGWINCH to the command. Before, it waits until all output for the old
// size is on the screen.
func (t *Terminal) Resize(columns, rows int) {
	t.t.Helper()
	t.pause()
	defer t.Command.Process.Signal(unix.SIGCONT)
	for deadline := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		t.mu.Lock()
		waiting, err := unix.IoctlGetInt(int(t.control.Fd()), unix.TIOCINQ)
		if err == nil && waiting == 0 || time.Now().After(deadline) {
			break
		}
		t.mu.Unlock()
	}
	defer t.mu.Unlock()
	t.screen.Resize(columns, rows)
	t.setSize(columns, rows)
}

// timeout is the largest time for an operation. It is long, because the machine may be busy.
const timeout = 20 * time.Second

// pause stops the command, and waits until it has stopped.
func (t *Terminal) pause() {
	t.t.Helper()
	pid := t.Command.Process.Pid
	t.Command.Process.Signal(unix.SIGSTOP)
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.t.Fatal(err)
		}
		if _, state, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(state, "T") {
			return
		}
	}
	t.t.Fatal("the command did not stop")
}

func (t *Terminal) setSize(columns, rows int) {
	size := &unix.Winsize{Col: uint16(columns), Row: uint16(rows)}
	if err := unix.IoctlSetWinsize(int(t.control.Fd()), unix.TIOCSWINSZ, size); err != nil {
		t.t.Error(err)
	}
}

// Wait waits until the command has ended and its whole output is on the screen. It returns the error of [exec.Cmd.Wait].
func (t *Terminal) Wait() error {
	err := t.Command.Wait()
	<-t.done
	return err
}
