package localstore

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pix/internal/flock"
	"pix/internal/realnix"
	"pix/storepath"
)

// process1Script runs a command inside a suite, as the first process of its namespaces. $1 is the root of the suite,
// and $2 contains its private directories.
const process1Script = `
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
for dir in /nix /tmp /root; do
	mount --bind "$2$dir" "$1$dir"
done
mount -t proc proc "$1/proc"
root=$1
shift 2
exec chroot "$root" "$@"
`

// asProcess1 makes a command of Nix process 1 of its own PID namespace, as in a container.
func asProcess1(t *testing.T, d *realnix.Daemon, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	i := slices.Index(cmd.Args, "--")
	if i < 0 {
		t.Fatalf("the command is %q", cmd.Args)
	}
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c", process1Script, "process1", d.Root, d.HostPath("/")}
	own := exec.Command("unshare", append(args, cmd.Args[i+1:]...)...)
	own.Env = cmd.Env
	return own
}

// runAs1 runs such a command with a timeout.
func runAs1(t *testing.T, d *realnix.Daemon, args ...string) error {
	t.Helper()
	cmd := asProcess1(t, d, local(t.Context(), d, args...))
	defer time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() }).Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("Nix %s: %s: %w\n%s", d.Version, strings.Join(args, " "), err, out)
	}
	return nil
}

// startNixRoot starts a process of Nix that has a temporary root: it imports an object, and waits for the next one. end
// ends it.
func startNixRoot(t *testing.T, d *realnix.Daemon, l layout, as1 bool, path storepath.Path) (end func()) {
	t.Helper()
	exported := runLocal(t, d, "nix-store", "--export", string(path))
	runLocal(t, d, "nix-store", "--delete", string(path))
	cmd := local(context.Background(), d, "nix-store", "--import")
	if as1 {
		cmd = asProcess1(t, d, cmd)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		in.Close()
		cmd.Wait()
	})
	t.Cleanup(end)
	if _, err := io.WriteString(in, exported[:len(exported)-8]); err != nil { // everything except the word that ends the sequence
		t.Fatal(err)
	}
	s := open(t, Options{Root: d.HostPath("/")})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if valid, err := s.IsValidPath(t.Context(), path); err != nil || time.Now().After(deadline) {
			t.Fatal(valid, err)
		} else if valid {
			return end
		}
	}
}

// rootsChild is the environment variable with the store directory of a process that a test has started.
const rootsChild = "PIX_TEST_ROOTS_IN"

// TestRootsChild is not a test. It is the child process, which makes the paths that it reads temporary roots. If it
// reads a name and a duration instead, it adds objects for this time.
func TestRootsChild(t *testing.T) {
	root := os.Getenv(rootsChild)
	if root == "" {
		t.Skip("only for other tests")
	}
	s, err := Open(t.Context(), &Options{Root: root, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		name, duration, _ := strings.Cut(in.Text(), " ")
		limit, err := time.ParseDuration(duration)
		if err != nil {
			fmt.Printf("%d: %v\n", os.Getpid(), s.AddTempRoot(t.Context(), storepath.Path(in.Text())))
			continue
		}
		a := &adder{s: s, name: name}
		for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
			if err := a.round(t); err != nil {
				fmt.Printf("%d: after %d rounds: %q\n", os.Getpid(), a.n, err)
				return
			}
		}
		fmt.Printf("%d: %v\n", os.Getpid(), a.check(t.Context(), a.kept...))
	}
}

// A pixProcess is another process that uses a store.
type pixProcess struct {
	in  io.WriteCloser
	out *bufio.Reader
	end func()
}

func startPix(t *testing.T, d *realnix.Daemon) *pixProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRootsChild$")
	cmd.Env = append(os.Environ(), rootsChild+"="+d.HostPath("/"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("cannot start a process in a PID namespace: ", err)
	}
	p := &pixProcess{in: in, out: bufio.NewReader(out)}
	p.end = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(p.end)
	return p
}

// do sends the process a line, and expects it to report success as process 1.
func (p *pixProcess) do(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		t.Fatal(err)
	}
	if said, err := p.out.ReadString('\n'); err != nil || said != "1: <nil>\n" {
		t.Errorf("the process printed %q, %v", said, err)
	}
}

// pix and Nix keep each other's temporary roots, even if both are process 1 of their own namespaces.
func TestRootsOfProcess1Real(t *testing.T) {
	eachNix(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		for _, as1 := range []bool{false, true} {
			ours, theirs, dead := addFile(t, d, "ours", "ours"), addFile(t, d, "theirs", "theirs"), addFile(t, d, "dead", "dead")
			s := open(t, Options{Root: d.HostPath("/")})
			pix := startPix(t, d)
			pix.do(t, string(ours))
			end := startNixRoot(t, d, l, as1, theirs)
			var own []string
			for _, name := range rootsFiles(t, l) {
				own = append(own, filepath.Base(name))
			}
			if as1 != slices.Contains(own, "1") {
				t.Errorf("the files are %q", own)
			}
			// A Nix process that starts and ends deletes a file with the name of its own.
			if err := os.WriteFile(d.HostPath("/tmp/other"), []byte("other"), 0o644); err != nil {
				t.Fatal(err)
			}
			if !as1 {
				if err := runAs1(t, d, "nix-store", "--add", "/tmp/other"); err != nil {
					t.Fatal(err)
				}
			}
			checkRemaining := func(event string, want ...storepath.Path) {
				t.Helper()
				if err := checkExactlyValid(t, s, want...); err != nil {
					t.Errorf("after %s, as process 1: %v: %v", event, as1, err)
				}
			}
			if err := runAs1(t, d, "nix-store", "--gc"); err != nil {
				t.Fatal(err)
			}
			checkRemaining("nix-store --gc", ours, theirs)
			if exists(t, l, dead) {
				t.Error("Nix has deleted nothing")
			}
			if _, err := s.CollectGarbage(t.Context(), deleteAll); err != nil {
				t.Fatal(err)
			}
			checkRemaining("our collection", ours, theirs)
			pix.end()
			runLocal(t, d, "nix-store", "--gc")
			checkRemaining("the end of our process", theirs)
			end()
			if _, err := s.CollectGarbage(t.Context(), deleteAll); err != nil {
				t.Fatal(err)
			}
			checkRemaining("the end of Nix")
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// While process 1 of one namespace adds objects, processes 1 of other namespaces, which run Nix, add and collect.
func TestNamespacesReal(t *testing.T) {
	eachNix(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		runLocal(t, d, "nix-store", "--init")
		if err := os.WriteFile(d.HostPath("/tmp/other"), []byte("other"), 0o644); err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var nix sync.WaitGroup
		counts := make([]int, 2)
		var failures atomic.Int32
		for i, args := range [][]string{{"nix-store", "--add", "/tmp/other"}, {"nix-store", "--gc", "--quiet"}} {
			nix.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					switch err := runAs1(t, d, args...); {
					case err == nil:
						counts[i]++
					case isCrash(err) || isLateReferrer(err):
						failures.Add(1)
					default:
						t.Error(err)
						return
					}
				}
			})
		}
		var adding sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			pix := startPix(t, d)
			adding.Go(func() { pix.do(t, name+" "+sharedTime().String()) })
		}
		adding.Wait()
		close(stop)
		nix.Wait()
		t.Logf("%d times has Nix added, %d times collected, and %d times failed", counts[0], counts[1], failures.Load())
		if _, stderr, err := tryLocal(t, d, "nix-store", "--verify", "--check-contents"); err != nil || strings.Contains(stderr, "disappeared") {
			t.Errorf("nix-store --verify: %v\n%s", err, stderr)
		}
	})
}

// checkExactlyValid returns an error if other paths than these are valid, or one of them has no object.
func checkExactlyValid(t *testing.T, s *Store, want ...storepath.Path) error {
	got, err := s.QueryAllValidPaths(t.Context())
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		return fmt.Errorf("valid paths are %q, %v; want %q", got, err, want)
	}
	for _, p := range want {
		if !exists(t, s.layout, p) {
			return fmt.Errorf("%s does not exist", p)
		}
	}
	return nil
}

// isCrash reports whether Nix has crashed. The collectors of Nix 2.5 to 2.34 may crash when a client disconnects very
// soon after it has connected, as nix-store --add does. A crash has the same effect as killing the collector.
func isCrash(err error) bool {
	return strings.Contains(err.Error(), "segmentation fault") || strings.Contains(err.Error(), "signal: aborted")
}

// isLateReferrer reports whether a collector of Nix has ended because a path that it wanted to delete has a new referrer. The
// collector deletes a path together with its referrers, but a client that adds a temporary root waits only if the root is the path
// that the collector has examined last. So the client may register a new referrer before the path is deleted.
func isLateReferrer(err error) bool {
	return strings.Contains(err.Error(), "cannot delete path") && strings.Contains(err.Error(), "because it is in use by")
}

// Adding a root while Nix 2.3 collects waits until the collection ends.
func TestTempRootsToCollectorOf23(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "bullseye"), nil)
	l := rootLayout(t, d.HostPath("/"))
	before, during := addFile(t, d, "a", "a"), addFile(t, d, "b", "b")
	r := newTempRoots(t, l)
	addRoots(t, r, before)
	// The collector of Nix 2.3 waits for a process that writes to its file.
	writing, err := os.Create(filepath.Join(l.tempRoots(), "999999999"))
	if err != nil {
		t.Fatal(err)
	}
	defer writing.Close()
	if err := syscall.Flock(int(writing.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	collected := make(chan error, 1)
	go func() {
		_, stderr, err := tryLocal(t, d, "nix-store", "--gc")
		if err != nil {
			err = fmt.Errorf("%w: %s", err, stderr)
		}
		collected <- err
	}()
	gcLock, err := os.Open(filepath.Join(l.stateDir, "gc.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer gcLock.Close()
	for free := true; free; time.Sleep(time.Millisecond) { // until it has the lock
		if free, err = flock.Try(gcLock, flock.Shared); err != nil {
			t.Fatal(err)
		}
		if free {
			flock.Unlock(gcLock)
		}
	}
	added := make(chan error, 1)
	go func() {
		_, err := r.Add(t.Context(), during)
		added <- err
	}()
	select {
	case err := <-added:
		t.Fatalf("the root is acknowledged while Nix collects: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	writing.Close()
	if err := <-collected; err != nil {
		t.Fatal(err)
	}
	if err := <-added; err != nil {
		t.Fatal(err)
	}
	valid, err := open(t, Options{Root: d.HostPath("/")}).IsValidPath(t.Context(), during)
	if !exists(t, l, before) || err != nil || valid != exists(t, l, during) {
		t.Errorf("the earlier root exists: %v; the later one is valid: %v, %v, and exists: %v", exists(t, l, before), valid, err, exists(t, l, during))
	}
}

// The file that a killed Nix 2.35.0 has left prevents collections by older versions, until pix has collected.
func TestRootsFileOfKilled2350Real(t *testing.T) {
	eachNix(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		kept := addFile(t, d, "a", "a")
		s := open(t, Options{Root: d.HostPath("/")})
		if err := s.AddTempRoot(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		left := filepath.Join(l.tempRoots(), "temproots-17-0")
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, stderr, err := tryLocal(t, d, "nix-store", "--gc"); err == nil {
			t.Errorf("Nix %s accepts the name: %s", d.Version, stderr)
		}
		if _, err := s.CollectGarbage(t.Context(), deleteAll); err != nil {
			t.Fatal(err)
		}
		runLocal(t, d, "nix-store", "--gc")
		if !exists(t, l, kept) {
			t.Error("a root was lost")
		}
	})
}
