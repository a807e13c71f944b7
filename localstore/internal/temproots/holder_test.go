package temproots

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pix/storepath"
)

// holderDir is the environment variable with the state directory of a process that a test has started.
const holderDir = "PIX_TEST_HOLD_ROOTS_IN"

// TestHolder is not a test. It is the child process, which reads numbers, adds somePath of each number to its roots,
// and ends with its input.
func TestHolder(t *testing.T) {
	dir := os.Getenv(holderDir)
	if dir == "" {
		t.Skip("only for other tests")
	}
	r := Open(State{Dir: dir, Store: storepath.DefaultDir})
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var n int
		fmt.Sscan(in.Text(), &n)
		_, err := r.Add(context.Background(), somePath(t, n))
		fmt.Printf("pid %d: %v\n", os.Getpid(), err)
	}
	r.Close()
}

// A holder is another process with roots.
type holder struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startHolder starts a process. prepare may change its command.
func startHolder(t *testing.T, s State, prepare func(cmd *exec.Cmd)) *holder {
	t.Helper()
	h := &holder{cmd: exec.Command(os.Args[0], "-test.run=^TestHolder$")}
	h.cmd.Env = append(os.Environ(), holderDir+"="+s.Dir)
	h.cmd.Stderr = os.Stderr
	if prepare != nil {
		prepare(h.cmd)
	}
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.out = bufio.NewReader(out)
	if err := h.cmd.Start(); err != nil {
		t.Skip("cannot start a process like that: ", err)
	}
	t.Cleanup(h.kill)
	return h
}

func (h *holder) kill() {
	h.cmd.Process.Kill()
	h.cmd.Wait()
}

// add makes the process add a root, and returns the process id that the process itself sees.
func (h *holder) add(t *testing.T, n int) (pid int) {
	t.Helper()
	if _, err := fmt.Fprintln(h.in, n); err != nil {
		t.Fatal(err)
	}
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(line, "pid %d", &pid); err != nil || !strings.HasSuffix(line, ": <nil>\n") {
		t.Fatalf("the process printed %q", line)
	}
	return pid
}

// The roots of a killed process end immediately, and its file is removed.
func TestKilled(t *testing.T) {
	s := newState(t)
	lives, dies := startHolder(t, s, nil), startHolder(t, s, nil)
	lives.add(t, 1)
	for n := range 20 {
		dies.add(t, 2)
		want(t, s, "with both", somePath(t, 1), somePath(t, 2))
		dies.kill()
		want(t, s, fmt.Sprintf("after kill %d", n), somePath(t, 1))
		if names := files(t, s); len(names) != 1 {
			t.Errorf("the files are %q", names)
		}
		dies = startHolder(t, s, nil)
	}
	// The same holds if it is killed while it adds a root.
	for n := range 20 {
		for i := range 1000 {
			fmt.Fprintln(dies.in, 100+i)
		}
		time.Sleep(time.Duration(n) * time.Millisecond)
		dies.kill()
		want(t, s, fmt.Sprintf("after kill %d", n), somePath(t, 1))
		dies = startHolder(t, s, nil)
	}
}
