package daemon_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/daemon"
)

// A residue is what a connection may leave behind.
type residue struct {
	goroutines, descriptors, children int
	files                             []string // temporary files
}

func residueNow(t *testing.T) residue {
	t.Helper()
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system has no /proc")
	}
	files, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := residue{goroutines: runtime.NumGoroutine(), descriptors: len(descriptors), children: children(t)}
	for _, f := range files {
		r.files = append(r.files, f.Name())
	}
	return r
}

// leavesNothing fails the test if f leaves anything behind. Goroutines and descriptors have a
// moment to end, since the other end of a connection may be in this process.
func leavesNothing(t *testing.T, f func()) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir()) // other programs use the default directory
	before := residueNow(t)
	f()
	after := residueNow(t)
	if after.children > before.children || !slices.Equal(after.files, before.files) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	for range 200 {
		if after.goroutines <= before.goroutines && after.descriptors <= before.descriptors {
			return
		}
		time.Sleep(10 * time.Millisecond)
		after = residueNow(t)
	}
	t.Errorf("before %+v, after %+v", before, after)
	if after.goroutines > before.goroutines {
		stacks := make([]byte, 1<<20)
		t.Logf("%s", stacks[:runtime.Stack(stacks, true)])
	}
}

// hostKey is an SSH with a host key, which needs a temporary file.
var hostKey = &daemon.SSH{Host: "host", HostKey: "c3NoLWVkMjU1MTkgQUFBQQ=="}

// After Dial or Close has returned, nothing that a transport has created remains: no file,
// process, descriptor or goroutine.
func TestTransportsLeaveNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plays := func(role string) string {
		return "PIX_TEST_ROLE=" + role + " GORACE=atexit_sleep_ms=0 exec " + self
	}
	for name, c := range map[string]struct {
		script string
		cancel time.Duration // the delay before the context ends; it also ends when the script creates $READY
		want   string        // part of the error; "" means none
	}{
		"a daemon":                         {plays("started"), 0, ""},
		"a daemon that does not end":       {plays("stubborn"), 0, ""},
		"a daemon with a child":            {"sleep 1 & " + plays("daemon"), 0, ""},
		"it ends":                          {"exit 1", 0, "exit status 1"},
		"it ends and says why":             {plays("refused"), 0, "Permission denied"},
		"it is no daemon":                  {plays("banner"), 0, "Welcome"},
		"it is no daemon and does not end": {"echo Welcome to the machine; exec sleep 60", 0, "Welcome"},
		"it says nothing":                  {"exec sleep 60", 50 * time.Millisecond, "no answer in time"},
		"it says nothing, after a start":   {"echo started; echo why >&2; : > $READY; exec sleep 60", 0, "printed: why"},
		"it cannot be run":                 {"", 0, "executable file not found"},
		"the context has ended before":     {plays("started"), -1, "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			fakeSSH(t, c.script)
			if c.script == "" {
				bin, _, _ := strings.Cut(os.Getenv("PATH"), ":")
				t.Setenv("PATH", bin)
				os.Chmod(bin+"/ssh", 0o644)
			}
			dial := func(ctx context.Context) error {
				conn, err := daemon.DialTransport(ctx, hostKey, nil)
				if err == nil {
					stillGood(t, ctx, conn)
					conn.Close()
				}
				return err
			}
			open := func(ctx context.Context) error {
				p, err := daemon.Open(ctx, hostKey, nil)
				if err == nil {
					if _, err := p.Session(ctx); err != nil {
						t.Error(err)
					}
					p.Close()
				}
				return err
			}
			for _, connect := range []func(context.Context) error{dial, open} {
				leavesNothing(t, func() {
					ctx, cancel := context.WithCancel(t.Context())
					if c.cancel != 0 {
						ctx, cancel = context.WithTimeout(ctx, c.cancel)
					}
					ready := filepath.Join(t.TempDir(), "ready")
					t.Setenv("READY", ready)
					var waiting sync.WaitGroup
					defer waiting.Wait()
					defer cancel()
					waiting.Go(func() {
						for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
							if _, err := os.Lstat(ready); err == nil {
								cancel()
							}
						}
					})
					err := connect(ctx)
					if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
						t.Errorf("%v, want %q", err, c.want)
					}
					var dial *daemon.DialError
					if err != nil && !errors.As(err, &dial) {
						t.Errorf("%v is not a DialError", err)
					}
					if err != nil && strings.Contains(err.Error(), "killed") {
						t.Errorf("%v: the error must not mention that the command was killed", err)
					}
				})
			}
		})
	}
}

// A cancelled Dial does not wait for a command that does not exit by itself.
func TestCancelledDialReturnsAtOnce(t *testing.T) {
	fakeSSH(t, "exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	if _, err := daemon.DialTransport(ctx, hostKey, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

// Pools whose calls are cancelled at any time, and that are closed during calls, leave nothing
// behind. A call ends soon after its context, and the pool answers until it is closed.
func TestPoolsLeaveNothing(t *testing.T) {
	pools := 30
	if os.Getenv("PIX_LONG") != "" {
		pools = 1000
	}
	transport := listening(t, (*peer).serveAll)
	leavesNothing(t, func() {
		for i := range pools {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			p, err := daemon.Open(t.Context(), transport, &daemon.Options{MaxConns: 1 + random.IntN(3)})
			if err != nil {
				t.Fatal(err)
			}
			var calls sync.WaitGroup
			for range 12 {
				seed := random.Uint64()
				calls.Go(func() { callAtRandom(t, p, rand.New(rand.NewPCG(seed, 4))) })
			}
			if i%2 == 0 {
				calls.Wait()
				oneByOne(t, t.Context(), p)
			}
			p.Close()
			calls.Wait()
		}
	})
}

// callAtRandom makes some calls that are cancelled at any time.
func callAtRandom(t *testing.T, p *daemon.Pool, random *rand.Rand) {
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		late := time.Duration(random.IntN(3000)) * time.Microsecond
		stop := time.AfterFunc(late, cancel)
		start := time.Now()
		err := oneAtRandom(ctx, p, random)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("a cancelled call took %v", took)
		}
		stop.Stop()
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, daemon.ErrClosed) {
			t.Error(err)
		}
		if errors.Is(err, daemon.ErrClosed) {
			return
		}
	}
}

func oneAtRandom(ctx context.Context, p *daemon.Pool, random *rand.Rand) error {
	if random.IntN(2) == 0 {
		ctx = hearing(ctx, func() bool { return true })
	}
	cb := append(loops[:len(loops):len(loops)], callbacks...)[random.IntN(len(loops)+len(callbacks))]
	leaveAt := random.IntN(20)
	left := func() bool { leaveAt--; return leaveAt != 0 }
	switch random.IntN(4) {
	case 0:
		_, err := p.IsValidPath(ctx, helloPath)
		return err
	case 1:
		opened, err := p.Session(ctx)
		if err != nil {
			return err
		}
		defer opened.(io.Closer).Close()
		if err = cb.run(ctx, opened.(*daemon.Session), left); errors.Is(err, errBoo) {
			err = nil
		}
		return err
	}
	err := cb.run(ctx, p, left)
	if errors.Is(err, errBoo) {
		err = nil
	}
	return err
}
