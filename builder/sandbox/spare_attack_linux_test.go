package sandbox

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The sources of mounts have the same meaning on a spare as without one, also if they are the root directory of the machine or
// if a relative link leads above it.
func TestSpareSources(t *testing.T) {
	needSpares(t)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("of the machine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(strings.Repeat("../", 40)+strings.TrimPrefix(dir, "/"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, mount := range map[string]Mount{
		"root directory": {Source: "/", Target: "/machine", ReadOnly: true},
		"dots":           {Source: "/../.." + dir, Target: "/machine" + dir},
		"link":           {Source: filepath.Join(dir, "link/file"), Target: "/machine" + filepath.Join(dir, "file")},
		"optional link":  {Source: filepath.Join(dir, "link/file"), Target: "/machine" + filepath.Join(dir, "file"), Optional: true},
	} {
		r := newRunner(t)
		got, err := runOnSpare(t.Context(), r, func() (*Request, error) {
			req := testRequest(t, "read", "/machine"+filepath.Join(dir, "file"))
			req.Mounts = append(req.Mounts, mount)
			setUser(t, req, 1358954496)
			return req, nil
		})
		if err != nil || got != "of the machine: ok\n" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// Requests that are cancelled at any point, and spares and supervisors that are killed at any point, leave no spare behind. They
// do not fail the requests after them.
func TestSpareCancelled(t *testing.T) {
	needSpares(t)
	r := newRunner(t)
	req := testRequest(t, "exit", "3")
	setUser(t, req, 1358954496)
	var fine, cancelled, lost atomic.Int64
	runMany(t, 300, 4, func(i int) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		switch rand.IntN(3) {
		case 0:
			time.AfterFunc(time.Duration(rand.IntN(10_000))*time.Microsecond, cancel)
		case 1:
			r.mu.Lock()
			if r.supervisor != nil && i%10 == 0 {
				_ = unix.Kill(r.supervisor.process.Pid, unix.SIGKILL)
			} else if r.supervisor != nil {
				for _, pid := range spareProcesses(r.supervisor.process.Pid) {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
			r.mu.Unlock()
		}
		result, err := r.Run(ctx, separate(t, req), io.Discard)
		switch {
		case errors.Is(err, context.Canceled):
			cancelled.Add(1)
		case errors.Is(err, ErrLost):
			lost.Add(1)
		case err != nil:
			t.Error(err)
		case result.ExitCode == 3:
			fine.Add(1)
		case result.Signal != int(unix.SIGKILL):
			t.Errorf("got %+v", result)
		}
	})
	t.Logf("%d ended, %d cancelled, %d lost", fine.Load(), cancelled.Load(), lost.Load())
	if result, err := r.Run(t.Context(), req, io.Discard); err != nil || result.ExitCode != 3 {
		t.Error("afterwards:", result, err)
	}
}

// A spare ends with its supervisor, and with the caller of the supervisor.
func TestSpareEndsWithParents(t *testing.T) {
	needSpares(t)
	for name, victim := range map[string]func(caller, supervisor int) int{
		"caller":     func(caller, _ int) int { return caller },
		"supervisor": func(_, supervisor int) int { return supervisor },
	} {
		t.Run(name, func(t *testing.T) {
			c := spareCommand(t, "spare-loop", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = c.Process.Kill()
				_ = c.Wait()
			}()
			var spares []int
			supervisor := 0
			eventually(t, "no spare waits", func() (ok bool) {
				if spares = spareProcesses(c.Process.Pid); len(spares) == 0 {
					return false
				}
				var err error
				supervisor, err = parentOf(strconv.Itoa(spares[0]))
				return err == nil // otherwise it has just ended with its request
			})
			if err := unix.Kill(victim(c.Process.Pid, supervisor), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for _, pid := range append(spares, supervisor) {
				eventually(t, "a process is left", func() bool { return hasEnded(pid) })
			}
		})
	}
}

// loopWithSpares runs requests until it is killed. It ends by itself if the test was killed first.
func loopWithSpares(s *spareTester) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if err := s.run(1358954496, "exit", "0"); err != nil && !errors.Is(err, ErrLost) {
			return err
		}
	}
	return nil
}
