package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A startedLog is a log that notes the id of its process.
type startedLog struct {
	bytes.Buffer
	pid int
}

func (l *startedLog) Started(pid int) { l.pid = pid }

// spareProcesses returns the spares of a supervisor.
func spareProcesses(supervisor int) (pids []int) {
	for _, pid := range descendants(supervisor) {
		if b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline")); err == nil && strings.HasPrefix(string(b), roleSpare+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// hasEnded reports whether a process is gone or a zombie without other threads. Before, its descriptors are open.
func hasEnded(pid int) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	threads, err := os.ReadDir(filepath.Join(dir, "task"))
	stat, statErr := os.ReadFile(filepath.Join(dir, "stat"))
	return err != nil || statErr != nil || len(threads) == 1 && strings.Contains(string(stat), ") Z ")
}

var errNoSpare = errors.New("no spare has served a request")

// runOnSpare runs a request until a spare has served it, and returns the output. On a slow machine, spares end before the next
// request.
func runOnSpare(ctx context.Context, r *Runner, request func() (*Request, error)) (string, error) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		req, err := request()
		if err != nil {
			return "", err
		}
		var spares []int
		if r.supervisor != nil {
			spares = spareProcesses(r.supervisor.process.Pid)
		}
		var log startedLog
		if result, err := r.Run(ctx, req, &log); err != nil || result.ExitCode != 0 {
			return log.String(), fmt.Errorf("%+v, %w", result, err)
		}
		if slices.Contains(spares, log.pid) {
			return log.String(), nil
		}
	}
	return "", errNoSpare
}

// needSpares skips a test where there are no spares. It starts the supervisor of [Check], which a Runner of the test must not
// take for a leak.
func needSpares(t *testing.T) {
	t.Helper()
	testRequest(t)
	if os.Geteuid() != 0 {
		t.Skip("only root has spares")
	}
	if (&job{launch: launch{role: roleSetup, memory: true, hostUID: 1}}).memoryRoot() == nil {
		t.Skip("this machine cannot make a file system for another namespace")
	}
}

// A spare shows a process what Nix's sandbox shows, like a process without one.
func TestLookSpare(t *testing.T) {
	needSpares(t)
	r := newRunner(t)
	got, err := runOnSpare(t.Context(), r, func() (*Request, error) { return nixRequest(t, 30001, 30000), nil })
	if err != nil {
		t.Fatal(err)
	}
	// The denied system calls are compared by the probes below.
	probes, err := runOnSpare(t.Context(), r, func() (*Request, error) {
		req := testRequest(t)
		req.Mounts[0].Source = testProgram(t, "calls", "")
		setUser(t, req, 30001)
		return req, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	compareLook(t, got+"probes =\n"+probes, false, always)
}

// Requests that differ in what a spare has already made get no spare of each other.
func TestSpareOfOtherRequest(t *testing.T) {
	needSpares(t)
	r := newRunner(t)
	request := func() (*Request, error) {
		req := testRequest(t, "exit", "0")
		setUser(t, req, 1358954496)
		return req, nil
	}
	for name, change := range map[string]func(*Request){
		"user":          func(req *Request) { setUser(t, req, 1358954497) },
		"group":         func(req *Request) { req.HostGID++ },
		"network":       func(req *Request) { req.Network = true },
		"shared memory": func(req *Request) { req.SharedMemory = "1M" },
		"root on disk":  func(req *Request) { req.Memory = false },
		"device":        func(req *Request) { req.Mounts = append(req.Mounts, Mount{Source: "/dev/null", Target: "/dev/full"}) },
	} {
		if _, err := runOnSpare(t.Context(), r, request); err != nil {
			t.Fatal(name, err)
		}
		spares := spareProcesses(r.supervisor.process.Pid)
		req, _ := request()
		change(req)
		var log startedLog
		if result, err := r.Run(t.Context(), req, &log); err != nil || result.ExitCode != 0 {
			t.Error(name, result, err)
		}
		if slices.Contains(spares, log.pid) {
			t.Errorf("%s: another request gets the spare", name)
		}
	}
}

// A spare that has been killed is replaced.
func TestKilledSpare(t *testing.T) {
	needSpares(t)
	r := newRunner(t)
	kill := 0
	for range 5 {
		_, err := runOnSpare(t.Context(), r, func() (*Request, error) {
			if kill++; kill%2 == 0 {
				for _, pid := range spareProcesses(r.supervisor.process.Pid) {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
			req := testRequest(t, "exit", "0")
			setUser(t, req, 1358954496)
			return req, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// spareCommand returns a command that runs a test in a process of its own, with these namespaces.
func spareCommand(t *testing.T, name string, attr *syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	needSpares(t)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "PIX_TEST_CALLER="+name, "PIX_TEST_PROBE="+probe(t), "PIX_TEST_ROOT="+dir, "PIX_TEST_HELPER="+raceHelper(t))
	c.SysProcAttr = attr
	return c
}

// A spareTester runs requests in the process of a spareCommand.
type spareTester struct {
	*Runner
	dir, input string
	roots      int
}

func newSpareTester() (*spareTester, error) {
	dir := os.Getenv("PIX_TEST_ROOT")
	s := &spareTester{Runner: &Runner{Helper: os.Getenv("PIX_TEST_HELPER")}, dir: dir, input: filepath.Join(dir, "input")}
	return s, errors.Join(os.Mkdir(s.input, 0o755), unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
}

// request returns a request of a build user, with a root directory of its own.
func (s *spareTester) request(uid int, args ...string) (*Request, error) {
	s.roots++
	root := filepath.Join(s.dir, fmt.Sprint("root", s.roots))
	return &Request{
		Program: "/probe", Args: append([]string{"probe"}, args...), Dir: "/", Root: root, Memory: true, Writable: []string{"/store"},
		Mounts:  []Mount{{Source: os.Getenv("PIX_TEST_PROBE"), Target: "/probe", ReadOnly: true}, {Source: s.input, Target: "/input"}},
		HostUID: uid, HostGID: uid, UID: 1000, GID: 100,
	}, os.MkdirAll(filepath.Join(root, "store"), 0o755)
}

// run runs a request, whose log it adds to an error.
func (s *spareTester) run(uid int, args ...string) error {
	req, err := s.request(uid, args...)
	if err != nil {
		return err
	}
	var log bytes.Buffer
	if result, err := s.Run(context.Background(), req, &log); err != nil || result.ExitCode != 0 {
		return fmt.Errorf("%+v, %w: %s", result, err, log.String())
	}
	return nil
}

func (s *spareTester) runOnSpare() error {
	_, err := runOnSpare(context.Background(), s.Runner, func() (*Request, error) { return s.request(1358954496, "exit", "0") })
	return err
}

// runSpareTest runs a test in the process of a spareCommand.
func runSpareTest(test func(*spareTester) error) int {
	s, err := newSpareTester()
	if err == nil {
		err = test(s)
	}
	if err = errors.Join(err, s.Close()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// A process sees a file system that was mounted on the machine while its spare waited.
func TestSpareMounts(t *testing.T) {
	c := spareCommand(t, "spare-mounts", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func mountWithSpare(s *spareTester) error {
	for range 5 {
		if err := s.runOnSpare(); err != nil {
			return err
		}
		if err := unix.Mount("none", s.input, "tmpfs", 0, "mode=1777"); err != nil {
			return err
		}
		if err := s.run(1358954496, "write", "/input/seen"); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(s.input, "seen")); err != nil {
			return err
		}
		if err := unix.Unmount(s.input, 0); err != nil {
			return err
		}
	}
	return nil
}

// A spare that has the last namespace which the machine allows does not make a request fail. The test sets the limit in a
// user namespace of its own.
func TestSpareLimit(t *testing.T) {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1358954496, HostID: 1358954496, Size: 2}}
	c := spareCommand(t, "spare-limit", &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
	})
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func limitNamespaces(s *spareTester) error {
	if err := s.runOnSpare(); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("1"), 0); err != nil {
		return err
	}
	return s.run(1358954497, "exit", "0") // while a spare of the other user waits
}
