package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pix/activity"
)

// A Command is the [Transport] through the standard input and output of a command, such as
// "nix-daemon --stdio". The command runs as long as the connection. Closing the connection
// closes its standard input, kills it if it has not exited after half a second, and waits for
// its exit. A failed handshake does the same. A cancelled handshake kills it at once.
type Command struct {
	Args []string // the program, looked up in PATH, and its arguments
	Env  []string // "KEY=value", added to the environment of this process
	Dir  string   // the working directory; "" means the current one
}

// String returns the arguments, separated by spaces.
func (t Command) String() string { return strings.Join(t.Args, " ") }

// Dial implements [Transport].
func (t Command) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return t.start("", func() {})
}

// start runs the command. If the command prints the greeting first, reads skip it. start calls
// cleanUp when the command has exited, or could not be started.
func (t Command) start(greeting string, cleanUp func()) (nc net.Conn, err error) {
	defer func() {
		if err != nil {
			cleanUp()
		}
	}()
	if len(t.Args) == 0 {
		return nil, errors.New("no command to run")
	}
	cmd := exec.Command(t.Args[0], t.Args[1:]...)
	cmd.Dir = t.Dir
	if len(t.Env) > 0 {
		cmd.Env = append(os.Environ(), t.Env...)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		theirIn.Close()
		in.Close()
		return nil, err
	}
	p := &process{cmd: cmd, in: in, out: out, cleanUp: cleanUp, greeting: greeting, exited: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, &p.stderr
	cmd.WaitDelay = stderrDelay
	err = cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	go p.reap()
	return p, nil
}

const (
	// killDelay is how long a command may take to exit by itself.
	killDelay = 500 * time.Millisecond
	// stderrDelay is how long a child of the command, such as the master of shared ssh
	// connections, may keep its standard error open after the command has exited.
	stderrDelay = 50 * time.Millisecond
)

// A process is a net.Conn to a running command.
type process struct {
	cmd     *exec.Cmd
	in      *os.File // the end of its standard input that is written
	out     *os.File
	stderr  tail
	cleanUp func()

	greeting string // skipped at the start of its output
	greeted  bool   // the start of the output was read, with or without a greeting
	unread   []byte // read instead of a greeting, and not returned by Read yet

	once      sync.Once // closes in and out
	killed    atomic.Bool
	exited    chan struct{} // closed when the command has exited and cleanUp has returned
	exitError error         // result of the command, set when exited is closed
}

// reap waits for the exit of the command.
func (p *process) reap() {
	defer close(p.exited)
	defer p.cleanUp()
	if p.exitError = p.cmd.Wait(); errors.Is(p.exitError, exec.ErrWaitDelay) {
		p.exitError = nil // the command itself has succeeded
	}
}

// kill kills the command.
func (p *process) kill() {
	if p.cmd.Process.Kill() == nil {
		p.killed.Store(true)
	}
}

// Close implements net.Conn. It closes the standard input of the command, kills the command if
// it has not exited after killDelay, and waits for its exit.
func (p *process) Close() error {
	p.once.Do(func() {
		p.in.Close()
		p.out.Close()
	})
	late := time.NewTimer(killDelay)
	defer late.Stop()
	select {
	case <-p.exited:
	case <-late.C:
		p.kill()
		<-p.exited
	}
	return nil
}

// Read implements net.Conn.
func (p *process) Read(b []byte) (int, error) {
	if !p.greeted {
		if err := p.readGreeting(); err != nil {
			return 0, err
		}
	}
	if len(p.unread) > 0 {
		n := copy(b, p.unread)
		p.unread = p.unread[n:]
		return n, nil
	}
	return p.out.Read(b)
}

// readGreeting reads the start of the output as long as it may be the greeting.
func (p *process) readGreeting() error {
	for len(p.unread) < len(p.greeting) {
		b := make([]byte, len(p.greeting)-len(p.unread))
		n, err := p.out.Read(b)
		p.unread = append(p.unread, b[:n]...)
		if !strings.HasPrefix(p.greeting, string(p.unread)) {
			break
		}
		if err != nil && (err != io.EOF || len(p.unread) == 0) {
			return err
		}
		if err == io.EOF {
			break
		}
	}
	p.greeted = true
	if string(p.unread) == p.greeting {
		p.unread = nil
	}
	return nil
}

// Write implements net.Conn.
func (p *process) Write(b []byte) (int, error) { return p.in.Write(b) }

// explain adds the exit status and the standard error of the command to err.
func (p *process) explain(err error) error {
	select { // the command may be about to print the reason
	case <-p.exited:
	case <-time.After(killDelay):
	}
	e := &CommandError{Args: p.cmd.Args, Stderr: p.stderr.String(), Err: err}
	select {
	case <-p.exited:
		if !p.killed.Load() { // otherwise the status only says that it was killed
			e.Status = p.exitError
		}
	default:
	}
	if e.Status == nil && e.Stderr == "" {
		return err
	}
	return e
}

// A CommandError is an error of a connection to a command, with the standard error of the
// command.
type CommandError struct {
	Args   []string
	Status error  // an *exec.ExitError if the command has failed, otherwise nil
	Stderr string // the end of its standard error
	Err    error  // the error of the connection
}

func (e *CommandError) Error() string {
	text := e.Err.Error()
	if e.Status != nil {
		text += fmt.Sprintf("; %s exited with %v", e.Args[0], e.Status)
	}
	if said := strings.TrimSpace(activity.Plain(e.Stderr)); said != "" {
		text += fmt.Sprintf("; %s printed: %s", e.Args[0], said)
	}
	return text
}

// Unwrap returns e.Err.
func (e *CommandError) Unwrap() error { return e.Err }

// stderrSize is the number of bytes of a command's standard error that are kept.
const stderrSize = 4 << 10

// A tail keeps the last stderrSize bytes that are written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[max(0, len(p)-stderrSize):]...)
	if more := len(t.b) - stderrSize; more > 0 {
		t.b = append(t.b[:0], t.b[more:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// A commandAddr is the name of a command as a net.Addr.
type commandAddr string

func (commandAddr) Network() string { return "command" }

func (a commandAddr) String() string { return string(a) }

// LocalAddr implements net.Conn.
func (p *process) LocalAddr() net.Addr { return commandAddr("stdio") }

// RemoteAddr implements net.Conn.
func (p *process) RemoteAddr() net.Addr { return commandAddr(p.cmd.Args[0]) }

// SetDeadline implements net.Conn.
func (p *process) SetDeadline(t time.Time) error {
	if err := p.in.SetDeadline(t); err != nil {
		return err
	}
	return p.out.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (p *process) SetReadDeadline(t time.Time) error { return p.out.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (p *process) SetWriteDeadline(t time.Time) error { return p.in.SetWriteDeadline(t) }
