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

// hasEnded reports whether a process is gone or a zombie without other threads. Before, its descriptors are open: a killed spare
// could still get a request, which is lost.
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
					eventually(t, "a killed spare runs", func() bool { return hasEnded(pid) })
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

// A process sees what was mounted on the machine while its spare waited. The test program mounts it in a namespace of its own.
func TestSpareMounts(t *testing.T) {
	needSpares(t)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "PIX_TEST_CALLER=spare", "PIX_TEST_PROBE="+probe(t), "PIX_TEST_ROOT="+dir, "PIX_TEST_HELPER="+raceHelper(t))
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// spareMounter mounts a file system while a spare waits, and fails if the next process does not see it.
func spareMounter() int {
	dir, r := os.Getenv("PIX_TEST_ROOT"), &Runner{Helper: os.Getenv("PIX_TEST_HELPER")}
	defer r.Close()
	input, n := filepath.Join(dir, "input"), 0
	request := func(args ...string) (*Request, error) {
		n++
		root := filepath.Join(dir, fmt.Sprint("root", n))
		if err := os.MkdirAll(filepath.Join(root, "store"), 0o755); err != nil {
			return nil, err
		}
		return &Request{
			Program: "/probe", Args: append([]string{"probe"}, args...), Dir: "/", Root: root, Memory: true, Writable: []string{"/store"},
			Mounts:  []Mount{{Source: os.Getenv("PIX_TEST_PROBE"), Target: "/probe", ReadOnly: true}, {Source: input, Target: "/input"}},
			HostUID: 1358954496, HostGID: 1358954496, UID: 1000, GID: 100,
		}, nil
	}
	err := errors.Join(os.Mkdir(input, 0o755), unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	for i := 0; i < 5 && err == nil; i++ {
		_, err = runOnSpare(context.Background(), r, func() (*Request, error) { return request("exit", "0") })
		if err == nil {
			err = unix.Mount("none", input, "tmpfs", 0, "mode=1777")
		}
		if err != nil {
			break
		}
		var log bytes.Buffer
		req, _ := request("write", "/input/seen")
		if _, err = r.Run(context.Background(), req, &log); err == nil {
			_, err = os.Stat(filepath.Join(input, "seen"))
		}
		if err != nil {
			err = fmt.Errorf("%w: %s", err, log.String())
		}
		err = errors.Join(err, unix.Unmount(input, 0))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}
