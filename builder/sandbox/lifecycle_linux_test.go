package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/testenv"
)

// newRunner returns a Runner whose supervisor runs. At the end of the test, no process, descriptor, goroutine or mount is
// left of those that the test made.
func newRunner(t *testing.T) *Runner {
	t.Helper()
	trial := testRequest(t, "exit", "0") // opens the files of the package's own Runner
	testenv.NoLeak(t)
	mounts, dir := readMounts(t), filepath.Dir(t.TempDir())
	before := openFiles(t, os.Getpid())
	r := &Runner{Helper: raceHelper(t)}
	if _, err := r.Run(t.Context(), trial, io.Discard); err != nil {
		t.Skip("this machine has no sandbox: ", err)
	}
	supervisor := r.supervisor
	eventually(t, "descriptors of the trial are left", func() bool { return len(descendants(supervisor.process.Pid)) == 0 })
	time.Sleep(10 * time.Millisecond)
	files := fileNames(t, supervisor.process.Pid)
	t.Cleanup(func() {
		if r.supervisor == supervisor {
			pid := supervisor.process.Pid
			eventually(t, "processes are left", func() bool { return len(descendants(pid)) == 0 })
			eventually(t, "descriptors of the supervisor are left", func() bool { return openFiles(t, pid) <= len(files) })
			if openFiles(t, pid) > len(files) {
				t.Logf("%q instead of %q", fileNames(t, pid), files)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		eventually(t, "descriptors are left", func() bool { return openFiles(t, os.Getpid()) <= before })
		eventually(t, "processes of the test program are left", func() bool { return len(running(t, probe(t))) == 0 })
		for mount, after := range readMounts(t) {
			if line, existed := mounts[mount]; existed && line != after || strings.HasPrefix(mount.point, dir+"/") {
				t.Errorf("a mount of the machine has changed from %q to %q", line, after)
			}
		}
	})
	return r
}

// A mountID identifies a mount of the machine.
type mountID struct{ id, point string }

// readMounts returns the lines of /proc/self/mountinfo. Other programs may add and remove mounts during a test, so a test may
// look only at the mounts below its own directory, and at mounts that remain.
func readMounts(t *testing.T) map[mountID]string {
	mounts := make(map[mountID]string)
	for line := range strings.Lines(readFile(t, "/proc/self/mountinfo")) {
		fields := strings.Fields(line)
		mounts[mountID{fields[0], fields[4]}] = line
	}
	return mounts
}

// raceHelper returns a helper without the race detector, if this program has it: a fork and an exit of such a
// program take a second.
func raceHelper(t *testing.T) string {
	if !testenv.RaceEnabled {
		return ""
	}
	return testProgram(t, "../../../cmd/pix-sandbox", "")
}

// hang is when a test gives up waiting. It says nothing about the speed of the machine.
const hang = time.Minute

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Error(what)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fileNames returns the open files of a process, except those that the runtime of Go opened.
func fileNames(t *testing.T, pid int) (names []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // it has ended
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil && !strings.HasPrefix(target, "anon_inode:[event") && !strings.HasPrefix(target, "/sys/fs/cgroup/cpu") && target != dir {
			names = append(names, target)
		}
	}
	return names
}

func openFiles(t *testing.T, pid int) int { return len(fileNames(t, pid)) }

// running returns the processes that run a program. The name of the program is another one in a sandbox.
func running(t *testing.T, program string) (pids []int) {
	t.Helper()
	want, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if got, err := os.Stat(file); err == nil && os.SameFile(got, want) {
			pid, err := strconv.Atoi(strings.Split(file, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// unsandboxed makes a request one without namespaces.
func unsandboxed(t *testing.T, req *Request) *Request {
	req.Program, req.Root, req.Dir, req.Mounts, req.Writable = probe(t), "", "/", nil, nil
	return req
}

// bothKinds runs a test with namespaces and without.
func bothKinds(t *testing.T, f func(t *testing.T, req *Request, sandboxed bool), args ...string) {
	t.Run("sandboxed", func(t *testing.T) {
		forUsers(t, func(t *testing.T, req *Request) { f(t, req, true) }, args...)
	})
	t.Run("unsandboxed", func(t *testing.T) {
		forUsers(t, func(t *testing.T, req *Request) { f(t, unsandboxed(t, req), false) }, args...)
	})
}

// allKinds runs a test also for processes with a keeper.
func allKinds(t *testing.T, f func(t *testing.T, req *Request, sandboxed bool), args ...string) {
	bothKinds(t, f, args...)
	t.Run("kept", func(t *testing.T) {
		forUsers(t, func(t *testing.T, req *Request) {
			req.Live, req.Memory = NewLive("/store"), false
			f(t, req, true)
		}, args...)
	})
}

func TestExit(t *testing.T) {
	bothKinds(t, func(t *testing.T, req *Request, sandboxed bool) {
		if result, log := run(t, req); result.ExitCode != 7 || result.Signal != 0 || log != "" {
			t.Errorf("got %+v, %q", result, log)
		}
		req.Args = []string{"x", "kill", "9"}
		result, _ := run(t, req)
		if want := (Result{ExitCode: -1, Signal: 9}); !sandboxed && (result.ExitCode != want.ExitCode || result.Signal != want.Signal) {
			t.Errorf("got %+v", result)
		}
		if sandboxed && result.ExitCode != 99 { // PID 1 ignores its own signals
			t.Errorf("got %+v", result)
		}
		req.Program = "/nope"
		if result, log := run(t, req); result.ExitCode != 1 || log != "error: executing '/nope': No such file or directory" {
			t.Errorf("got %+v, %q", result, log)
		}
		req.Builtin = "nope"
		if result, log := run(t, req); result.ExitCode != 1 || log != "error: unsupported builtin builder 'nope'\n" {
			t.Errorf("got %+v, %q", result, log)
		}
	}, "exit", "7")
}

// A process in the background does not keep Run from returning.
func TestBackground(t *testing.T) {
	for _, command := range []string{"background", "daemon", "forks"} {
		t.Run(command, func(t *testing.T) {
			allKinds(t, func(t *testing.T, req *Request, sandboxed bool) {
				r := newRunner(t)
				ctx, cancel := context.WithTimeout(t.Context(), hang) // the process in the background sleeps for an hour
				defer cancel()
				result, err := r.Run(ctx, req, io.Discard)
				if err != nil || result.ExitCode != 0 {
					t.Error(result, err)
				}
			}, command, "4")
		})
	}
}

// A process that closes its outputs is killed, as in Nix.
func TestClosedOutput(t *testing.T) {
	bothKinds(t, func(t *testing.T, req *Request, sandboxed bool) {
		r := newRunner(t)
		var log bytes.Buffer
		result, err := r.Run(t.Context(), req, &log)
		if err != nil || result.Signal != 9 || log.String() != "closing\n" {
			t.Errorf("got %+v, %q, %v", result, log.String(), err)
		}
	}, "close")
}

// A notifier closes started at the first output.
type notifier struct {
	started chan struct{}
	once    sync.Once
	err     error
}

func newNotifier() *notifier { return &notifier{started: make(chan struct{})} }

func (n *notifier) Write(p []byte) (int, error) {
	n.once.Do(func() { close(n.started) })
	return len(p), n.err
}

func TestCancel(t *testing.T) {
	allKinds(t, func(t *testing.T, req *Request, sandboxed bool) {
		r := newRunner(t)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		n := newNotifier()
		go func() {
			<-n.started
			cancel(cause)
		}()
		if _, err := r.Run(ctx, req, n); err != cause { // the process sleeps for an hour
			t.Errorf("got %v", err)
		}
		n.err = errors.New("disk full")
		if _, err := r.Run(t.Context(), req, n); err != n.err {
			t.Errorf("got %v", err)
		}
		if _, err := r.Run(ctx, req, n); err != cause {
			t.Errorf("got %v", err)
		}
	}, "sleep")
}

// Output arrives whole, up to its last byte before the end of the process.
func TestOutput(t *testing.T) {
	const size = 5 << 20
	bothKinds(t, func(t *testing.T, req *Request, sandboxed bool) {
		_, log := run(t, req)
		if len(log) != size {
			t.Fatalf("got %d bytes", len(log))
		}
		for i := range size {
			if log[i] != byte('a'+i%(1<<16)%26) {
				t.Fatalf("byte %d is %q", i, log[i])
			}
		}
	}, "flood", strconv.Itoa(size))
}

// Many processes that end at once do not get lost.
func TestManyQuick(t *testing.T) {
	req := testRequest(t, "exit", "3")
	r := newRunner(t)
	n := 150
	if os.Getenv("PIX_LONG") != "" {
		n = 2000
	}
	runMany(t, n, 8, func(int) {
		result, err := r.Run(t.Context(), separate(t, req), io.Discard)
		if err != nil || result.ExitCode != 3 {
			t.Error(result, err)
		}
	})
}

// separate returns a request with a root directory of its own.
func separate(t *testing.T, req *Request) *Request {
	own := *req
	if own.Root == "" {
		return &own
	}
	if req.Live != nil {
		own.Live, own.Memory = NewLive("/store"), false
	}
	own.Root = filepath.Join(filepath.Dir(req.Root), strconv.FormatUint(rand.Uint64(), 36))
	for _, dir := range []string{"", "/tmp", "/etc", "/store"} {
		if err := os.Mkdir(own.Root+dir, 0o755); err != nil {
			t.Error(err)
		}
	}
	return &own
}

// runMany calls f n times, in goroutines; at most parallel of them run at once.
func runMany(t *testing.T, n, parallel int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

// A set-up process, or a supervisor, that is killed at any point fails its processes, and leaves nothing behind.
func TestKillDuringSetUp(t *testing.T) {
	allKinds(t, func(t *testing.T, req *Request, sandboxed bool) {
		r := newRunner(t)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
				r.mu.Lock()
				if r.supervisor != nil {
					pid := r.supervisor.process.Pid
					if n%20 == 0 {
						unix.Kill(pid, unix.SIGKILL)
					} else if all := descendants(pid); len(all) > 0 {
						unix.Kill(all[rand.IntN(len(all))], unix.SIGKILL)
					}
				}
				r.mu.Unlock()
			}
		})
		var fine, lost, killed atomic.Int64
		runMany(t, 64, 64, func(int) {
			result, err := r.Run(t.Context(), separate(t, req), io.Discard)
			switch {
			case errors.Is(err, ErrLost):
				lost.Add(1)
			case err != nil:
				t.Error(err)
			case result.Signal == 9:
				killed.Add(1)
			case result.ExitCode == 3:
				fine.Add(1)
			default:
				t.Errorf("got %+v", result)
			}
		})
		close(stop)
		wg.Wait()
		t.Logf("%d ended, %d lost, %d killed", fine.Load(), lost.Load(), killed.Load())
		if result, err := r.Run(t.Context(), req, io.Discard); err != nil || result.ExitCode != 3 {
			t.Error("afterwards:", result, err)
		}
	}, "exit", "3")
}

// A process that a killed supervisor has not started yet is started by the next one: until it has died, a killed
// supervisor's socket still takes messages.
func TestRunAfterKill(t *testing.T) {
	allKinds(t, func(t *testing.T, req *Request, sandboxed bool) {
		r := newRunner(t)
		for range 50 {
			if result, err := r.Run(t.Context(), separate(t, req), io.Discard); err != nil || result.ExitCode != 3 {
				t.Fatal(result, err)
			}
			r.mu.Lock()
			unix.Kill(r.supervisor.process.Pid, unix.SIGKILL)
			r.mu.Unlock()
		}
	}, "exit", "3")
}

// A process dies with its supervisor, also after it has become another user.
func TestSupervisorDies(t *testing.T) {
	allKinds(t, func(t *testing.T, req *Request, sandboxed bool) {
		r := newRunner(t)
		n := newNotifier()
		go func() {
			<-n.started
			if len(running(t, probe(t))) != 1 {
				t.Error("the process does not run")
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if err := r.supervisor.process.Kill(); err != nil {
				t.Error(err)
			}
		}()
		if _, err := r.Run(t.Context(), req, n); !errors.Is(err, ErrLost) {
			t.Errorf("got %v", err)
		}
		eventually(t, "the process lives", func() bool { return len(running(t, probe(t))) == 0 })
	}, "sleep")
}

// The death signal belongs to a thread, and threads of the caller end at any time.
func TestThreadsEnd(t *testing.T) {
	r := newRunner(t)
	n := 30
	if os.Getenv("PIX_LONG") != "" {
		n = 1000
	}
	sleeper := newNotifier()
	ctx, cancel := context.WithCancel(t.Context())
	slept := make(chan error, 1)
	req := testRequest(t, "exit", "3")
	for i := range n {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and not unlocked: the thread ends
			if i == 0 {
				go func() {
					runtime.LockOSThread()
					_, err := r.Run(ctx, testRequest(t, "sleep"), sleeper)
					slept <- err
				}()
			}
			result, err := r.Run(t.Context(), separate(t, req), io.Discard)
			if err != nil || result.ExitCode != 3 {
				t.Error(result, err)
			}
		}()
		<-done
	}
	<-sleeper.started
	select {
	case err := <-slept:
		t.Error("the sleeping process ended:", err)
	default:
	}
	cancel()
	if err := <-slept; err != context.Canceled {
		t.Error(err)
	}
}

// caller is this test program as a program that runs a process and copies its output.
func caller() int {
	req := &Request{Program: os.Args[1], Args: append([]string{"probe"}, os.Args[2:]...), Dir: "/"}
	if root := os.Getenv("PIX_TEST_ROOT"); root != "" {
		req.Root, req.Memory, req.UID, req.GID, req.Writable = root, true, 1000, 100, []string{"/store"}
		req.Mounts = []Mount{{Source: os.Args[1], Target: "/store/probe", ReadOnly: true}}
		req.Program = "/store/probe"
	}
	result, err := Run(context.Background(), req, os.Stdout)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return result.ExitCode
}

// startCaller starts this test program as another one that runs the test program with these arguments.
func callerCommand(t *testing.T, root string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], append([]string{probe(t)}, args...)...)
	c.Env = append(os.Environ(), "PIX_TEST_CALLER=1", "PIX_TEST_ROOT="+root)
	c.Stderr = os.Stderr
	return c
}

// forRoots runs a test with namespaces and without.
func forRoots(t *testing.T, f func(t *testing.T, root string)) {
	t.Run("sandboxed", func(t *testing.T) { f(t, testRequest(t).Root) })
	t.Run("unsandboxed", func(t *testing.T) { f(t, "") })
}

// A process sees none of its caller's descriptors, and none of them stays open when the caller ends, by a signal too.
func TestDescriptors(t *testing.T) {
	forRoots(t, func(t *testing.T, root string) {
		c := callerCommand(t, root, "files")
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		c.ExtraFiles = []*os.File{null, null, null, null, null, null, null}
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if len(lines) != 3 || !strings.HasPrefix(lines[0], "0 /dev/null") || !strings.HasPrefix(lines[1], "1 /dev/pts/") || !strings.HasPrefix(lines[2], "2 /dev/pts/") {
			t.Errorf("got %q", lines)
		}

		c = callerCommand(t, root, "sleep")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		c.ExtraFiles = []*os.File{null, null, null, null, null, null, w} // descriptor 9
		stdout, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if _, err := io.ReadFull(stdout, make([]byte, 6)); err != nil {
			t.Error(err)
		}
		c.Process.Kill()
		c.Wait()
		if err := r.SetReadDeadline(time.Now().Add(hang)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the pipe of the caller: %v", err)
		}
		eventually(t, "the process lives", func() bool { return len(running(t, probe(t))) == 0 })
	})
}

// Signals that the caller ignores are not ignored by a process.
func TestSignals(t *testing.T) {
	forRoots(t, func(t *testing.T, root string) {
		c := callerCommand(t, root, "signals")
		sh := exec.Command("/bin/sh", append([]string{"-c", `trap "" HUP INT QUIT PIPE TSTP TTIN TTOU USR1 CHLD; exec "$@"`, "sh"}, c.Args...)...)
		sh.Env = c.Env
		out, err := sh.Output()
		if err != nil {
			t.Fatal(err)
		}
		if string(out) != "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n" {
			t.Errorf("got %q", out)
		}
	})
}

// A program that is no helper is refused with advice.
func TestNoHelper(t *testing.T) {
	for _, helper := range []string{"/bin/true", "/bin/cat"} {
		r := &Runner{Helper: helper}
		_, err := r.Run(t.Context(), testRequest(t, "echo", "x"), io.Discard)
		if _, ok := errors.AsType[*HelperError](err); !ok {
			t.Errorf("%s: got %v", helper, err)
		}
	}
	mainCalled.Store(false)
	defer mainCalled.Store(true)
	if _, err := new(Runner).Run(t.Context(), testRequest(t, "echo", "x"), io.Discard); err != ErrNoMain {
		t.Errorf("got %v", err)
	}
}

// A slow log gets all output, also after the process has ended.
func TestSlowLog(t *testing.T) {
	const size = 20000
	req := testRequest(t, "flood", strconv.Itoa(size))
	r := newRunner(t)
	log := &slowWriter{delay: 350 * time.Millisecond}
	if result, err := r.Run(t.Context(), req, log); err != nil || result.ExitCode != 0 {
		t.Error(result, err)
	}
	if log.n != size {
		t.Errorf("got %d bytes of %d", log.n, size)
	}
}

type slowWriter struct {
	delay time.Duration
	n     int
}

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(w.delay)
	w.n += len(p)
	return len(p), nil
}
