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

// A Terminal is a pseudo-terminal with a command on it, and the screen that shows it.
type Terminal struct {
	Command *exec.Cmd // which runs

	t       testing.TB
	control *os.File // our end
	done    chan struct{}

	mu     sync.Mutex
	screen *Screen
}

// Start runs a command in a session of its own, on a terminal of that size that is its
// standard output and error, and its standard input if it has none. It is killed at the end
// of the test, if it still runs.
func Start(t testing.TB, columns, rows int, cmd *exec.Cmd) *Terminal {
	t.Helper()
	control, end, err := open()
	if err != nil {
		t.Skipf("there is no pseudo-terminal: %v", err)
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
		cmd.Process.Kill() // no matter if it has ended
		<-term.done
		control.Close()
	})
	return term
}

// open opens a new pseudo-terminal, both ends.
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

// read shows what is written, until nobody has the other end any more.
func (t *Terminal) read() {
	defer close(t.done)
	buf := make([]byte, 64<<10)
	for {
		wait := []unix.PollFd{{Fd: int32(t.control.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(wait, -1); err == unix.EINTR {
			continue
		}
		// What has been read is on the screen when the lock is free again.
		t.mu.Lock()
		n, err := t.control.Read(buf)
		t.screen.Write(buf[:n])
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Look calls f with the screen, which does not change meanwhile.
func (t *Terminal) Look(f func(*Screen)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t.screen)
}

// Type types on the keyboard; "\x03" is Ctrl-C.
func (t *Terminal) Type(keys string) {
	t.t.Helper()
	if _, err := t.control.WriteString(keys); err != nil {
		t.t.Fatal(err)
	}
}

// Resize gives the terminal another size, and tells the command. It does so when all that
// the command has written for the old size is on the screen.
func (t *Terminal) Resize(columns, rows int) {
	t.t.Helper()
	t.pause()
	defer t.Command.Process.Signal(unix.SIGCONT)
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
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

// patience is how long anything may take on a machine that is busy with other things.
const patience = 20 * time.Second

// pause stops the command, and returns when it has stopped.
func (t *Terminal) pause() {
	t.t.Helper()
	pid := t.Command.Process.Pid
	t.Command.Process.Signal(unix.SIGSTOP)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.t.Fatal(err)
		}
		if _, state, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(state, "T") {
			return
		}
	}
	t.t.Fatal("the command does not stop")
}

func (t *Terminal) setSize(columns, rows int) {
	size := &unix.Winsize{Col: uint16(columns), Row: uint16(rows)}
	if err := unix.IoctlSetWinsize(int(t.control.Fd()), unix.TIOCSWINSZ, size); err != nil {
		t.t.Error(err)
	}
}

// Wait waits until the command has ended and all that it has written is on the screen. The
// error is that of [exec.Cmd.Wait].
func (t *Terminal) Wait() error {
	err := t.Command.Wait()
	<-t.done
	return err
}
