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
// closes its standard input, kills it if it has not ended after half a second, and waits for its
// end. So does a failed handshake; one that is cancelled kills it at once.
type Command struct {
	Args []string // the program, looked up in PATH, and its arguments
	Env  []string // "KEY=value", added to the environment of this process
	Dir  string   // the working directory; "" is that of this process
}

// String returns the command with spaces between.
func (t Command) String() string { return strings.Join(t.Args, " ") }

// Dial implements [Transport].
func (t Command) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return t.start("", func() {})
}

// start runs the command, and skips the greeting if the command prints it first. It calls cleanUp when
// the command has ended, or could not be started.
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
	p := &process{cmd: cmd, in: in, out: out, cleanUp: cleanUp, greeting: greeting, ended: make(chan struct{})}
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
	// killDelay is how long a command may take to end by itself.
	killDelay = 500 * time.Millisecond
	// stderrDelay is how long a child of the command, such as the master of shared ssh
	// connections, may keep its standard error open after it has ended.
	stderrDelay = 50 * time.Millisecond
)

// A process is a running command as a net.Conn.
type process struct {
	cmd     *exec.Cmd
	in      *os.File // its standard input, to be written
	out     *os.File
	stderr  tail
	cleanUp func()

	greeting string // skipped at the beginning of its output
	greeted  bool   // the beginning was read, with or without a greeting
	early    []byte // read at the beginning, no greeting, and not yet returned by Read

	once   sync.Once // closes in and out
	killed atomic.Bool
	ended  chan struct{} // closed when the command has ended, and cleanUp was called
	status error         // how it ended, when ended is closed
}

// reap waits for the command, whether it ends by itself or is made to.
func (p *process) reap() {
	defer close(p.ended)
	defer p.cleanUp()
	if p.status = p.cmd.Wait(); errors.Is(p.status, exec.ErrWaitDelay) {
		p.status = nil // the command itself has succeeded
	}
}

// kill ends the command at once.
func (p *process) kill() {
	if p.cmd.Process.Kill() == nil {
		p.killed.Store(true)
	}
}

// Close implements net.Conn. It closes the standard input of the command, kills the command if it has
// not ended after killDelay, and returns when it has ended.
func (p *process) Close() error {
	p.once.Do(func() {
		p.in.Close()
		p.out.Close()
	})
	late := time.NewTimer(killDelay)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		p.kill()
		<-p.ended
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
	if len(p.early) > 0 {
		n := copy(b, p.early)
		p.early = p.early[n:]
		return n, nil
	}
	return p.out.Read(b)
}

// readGreeting reads the beginning of the output as long as it may be the greeting.
func (p *process) readGreeting() error {
	for len(p.early) < len(p.greeting) {
		b := make([]byte, len(p.greeting)-len(p.early))
		n, err := p.out.Read(b)
		p.early = append(p.early, b[:n]...)
		if !strings.HasPrefix(p.greeting, string(p.early)) {
			break
		}
		if err != nil && (err != io.EOF || len(p.early) == 0) {
			return err
		}
		if err == io.EOF {
			break
		}
	}
	p.greeted = true
	if string(p.early) == p.greeting {
		p.early = nil
	}
	return nil
}

// Write implements net.Conn.
func (p *process) Write(b []byte) (int, error) { return p.in.Write(b) }

// explain adds to err how the command ended and what it said on its standard error.
func (p *process) explain(err error) error {
	select { // it may just be about to say something
	case <-p.ended:
	case <-time.After(killDelay):
	}
	e := &CommandError{Args: p.cmd.Args, Stderr: p.stderr.String(), Err: err}
	select {
	case <-p.ended:
		if !p.killed.Load() { // else the status only says that it was killed
			e.Status = p.status
		}
	default:
	}
	if e.Status == nil && e.Stderr == "" {
		return err
	}
	return e
}

// A CommandError says what was wrong with a connection that a command makes, and what the
// command said of it.
type CommandError struct {
	Args   []string
	Status error  // how the command ended, if it has, and failed: an *exec.ExitError
	Stderr string // the last of what it wrote to its standard error
	Err    error  // what happened to the connection
}

func (e *CommandError) Error() string {
	text := e.Err.Error()
	if e.Status != nil {
		text += fmt.Sprintf("; %s ended with %v", e.Args[0], e.Status)
	}
	if said := strings.TrimSpace(activity.Plain(e.Stderr)); said != "" {
		text += fmt.Sprintf("; %s said: %s", e.Args[0], said)
	}
	return text
}

// Unwrap returns what happened to the connection.
func (e *CommandError) Unwrap() error { return e.Err }

// stderrRoom is how many bytes of a command's standard error are kept.
const stderrRoom = 4 << 10

// A tail keeps the last of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[max(0, len(p)-stderrRoom):]...)
	if more := len(t.b) - stderrRoom; more > 0 {
		t.b = append(t.b[:0], t.b[more:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
