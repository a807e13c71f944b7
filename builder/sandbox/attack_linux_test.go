package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// run runs a request and returns its output. It fails the test if the process cannot be run.
func run(t *testing.T, req *Request) (*Result, string) {
	t.Helper()
	if standard.Helper == "" {
		UseHelper(raceHelper(t))
	}
	var log bytes.Buffer
	result, err := Run(t.Context(), req, &log)
	if err != nil {
		t.Fatal(err)
	}
	return result, log.String()
}

// users are the users that processes run as: the one of this process, and a build user if that is root.
func users() map[string]int {
	all := map[string]int{"own": os.Geteuid()}
	if os.Geteuid() == 0 {
		all["build"] = 1358954496
	}
	return all
}

// forUsers runs a test for each user, with the request of the test program.
func forUsers(t *testing.T, f func(t *testing.T, req *Request), args ...string) {
	for _, name := range slices.Sorted(maps.Keys(users())) {
		t.Run(name, func(t *testing.T) {
			uid := users()[name]
			req := testRequest(t, args...)
			if uid != os.Geteuid() {
				setUser(t, req, uid)
			}
			f(t, req)
		})
	}
}

// setUser makes a build user of this machine the user of a request.
func setUser(t *testing.T, req *Request, uid int) {
	t.Helper()
	req.HostUID, req.HostGID = uid, uid
	for _, m := range req.Mounts {
		if m.Target == "/build" {
			if err := os.Chown(m.Source, uid, uid); errors.Is(err, unix.EINVAL) {
				t.Skip("this user namespace has no other users")
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Without a build user, inputs belong to the builder: only their mounts protect them.
func TestInputsStay(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprint("old=", old), func(t *testing.T) {
			forUsers(t, func(t *testing.T, req *Request) {
				input := filepath.Join(t.TempDir(), "input")
				if err := os.Mkdir(input, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(input+"/file", []byte("x"), 0o644); err != nil {
					t.Fatal(err)
				}
				req.oldMounts = old
				req.Mounts = append(req.Mounts, Mount{Source: input, Target: "/store/input", ReadOnly: true})
				_, log := run(t, req)
				for line := range strings.Lines(log) {
					what, outcome, _ := strings.Cut(strings.TrimSpace(line), ": ")
					if outcome == "ok" && what != "nested mkdir" && what != "nested rbind" {
						t.Errorf("%s", line)
					}
				}
				if !strings.Contains(log, "nested chmod: EROFS") && !strings.Contains(log, "nested: ") {
					t.Errorf("the test program did not try all: %q", log)
				}
				entries, err := os.ReadDir(input)
				stat, statErr := os.Stat(input + "/file")
				if err != nil || statErr != nil || len(entries) != 1 || stat.Mode() != 0o644 {
					t.Error("the input has changed:", entries, stat, err, statErr)
				}
			}, "inputs", "/store/input")
		})
	}
}

// Root without a build user owns the files that configure the kernel and the devices, and needs no capability to
// change them.
func TestKernelStays(t *testing.T) {
	forUsers(t, func(t *testing.T, req *Request) {
		_, log := run(t, req)
		for line := range strings.Lines(log) {
			if !strings.HasSuffix(line, ": EROFS\n") && !strings.HasSuffix(line, ": EACCES\n") && !strings.HasSuffix(line, ": ENOENT\n") && !strings.HasSuffix(line, ": EPERM\n") && line != "write /dev/null: ok\n" {
				t.Errorf("%s", line)
			}
		}
	}, "procsys")
}

func TestAbstractSockets(t *testing.T) {
	name := fmt.Sprintf("pix-sandbox-test-%d", os.Getpid())
	l, err := net.Listen("unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := "dial: EPERM\n"
	if landlockABI() < 6 {
		t.Skip("this kernel has no scopes of abstract sockets")
	}
	for _, network := range []bool{false, true} {
		req := testRequest(t, "dial", name)
		req.Network = network
		if !network {
			want = "dial: ECONNREFUSED\n" // a network namespace has its own names
		} else {
			want = "dial: EPERM\n"
		}
		if _, log := run(t, req); log != want {
			t.Errorf("network %v: got %q", network, log)
		}
	}
	req := testRequest(t, "dial", name)
	req.Program, req.Root, req.Dir, req.Mounts, req.Writable = probe(t), "", "/", nil, nil
	if _, log := run(t, req); log != "dial: EPERM\n" {
		t.Errorf("without namespaces: got %q", log)
	}
}

// The filter concerns every system call interface of the machine.
func TestCalls(t *testing.T) {
	denied := regexp.MustCompile(`(4755|2755|6755|4000) : EPERM\(1\)$|(1755|755) : ok$|xattr.* : ENOTSUP\(95\)$|io_uring.* : ENOSYS\(38\)$`)
	for _, goarch := range []string{"", "386"} {
		t.Run(goarch, func(t *testing.T) {
			if goarch == "386" && abis["amd64"] == nil {
				t.Skip("this machine does not run such programs")
			}
			file := testProgram(t, "calls", goarch)
			if c := exec.Command(file); goarch != "" {
				c.Dir = t.TempDir()
				if err := c.Run(); err != nil {
					t.Skip("this machine does not run such programs: ", err)
				}
			}
			forUsers(t, func(t *testing.T, req *Request) {
				req.Mounts[0].Source = file
				_, log := run(t, req)
				if strings.Count(log, "\n") < 30 {
					t.Errorf("the test program did not try all: %q", log)
				}
				for line := range strings.Lines(log) {
					if !denied.MatchString(strings.TrimSpace(line)) {
						t.Errorf("%s", line)
					}
				}
			})
		})
	}
}

// A program that is open cannot be executed as another user.
func TestSetuid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes programs of root")
	}
	b, err := os.ReadFile(probe(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "setuid")
	if err := os.WriteFile(file, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o755|os.ModeSetuid|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	req := testRequest(t, "execfd", "/setuid")
	setUser(t, req, 1358954496)
	req.Mounts = append(req.Mounts, Mount{Source: file, Target: "/setuid"})
	if _, log := run(t, req); log != "1000 1000 100 100 [] <nil>\n" {
		t.Errorf("got %q", log)
	}
	req.Root, req.Program, req.Dir, req.Args[2] = "", probe(t), "/", file
	req.Mounts, req.Writable = nil, nil
	if _, log := run(t, req); log != "1358954496 1358954496 1358954496 1358954496 [] <nil>\n" && !strings.Contains(log, "EACCES") {
		t.Errorf("without namespaces: got %q", log)
	}
}

// A builder does not get the groups of the caller.
func TestGroups(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user cannot give up groups")
	}
	before, err := unix.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setgroups([]int{27, 44}); err != nil {
		t.Skip("root has no right to change groups: ", err)
	}
	defer syscall.Setgroups(before)
	var r Runner
	defer r.Close()
	for _, test := range []struct {
		root   bool
		groups []int
		want   string
	}{
		{true, nil, "1000 1000 100 100 [] <nil>\n"},
		{false, nil, "1358954496 1358954496 1358954496 1358954496 [] <nil>\n"},
		{false, []int{100, 2000}, "1358954496 1358954496 1358954496 1358954496 [100 2000] <nil>\n"},
	} {
		req := testRequest(t, "ids")
		setUser(t, req, 1358954496)
		if req.Groups = test.groups; !test.root {
			req.Program, req.Root, req.Dir, req.Mounts, req.Writable = probe(t), "", "/", nil, nil
		}
		var log bytes.Buffer
		if result, err := r.Run(context.Background(), req, &log); err != nil || log.String() != test.want {
			t.Errorf("root %v: got %q, %+v, %v", test.root, log.String(), result, err)
		}
	}
}

// A link in a mounted object leads nowhere while the sandbox is made.
func TestTargetThroughLink(t *testing.T) {
	canary := t.TempDir()
	input := filepath.Join(t.TempDir(), "input")
	if err := os.Mkdir(input, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(canary, input+"/link"); err != nil {
		t.Fatal(err)
	}
	req := testRequest(t, "echo", "x")
	req.Mounts = append(req.Mounts, Mount{Source: input, Target: "/store/input"}, Mount{Source: probe(t), Target: "/store/input/link/dir/new"})
	_, err := Run(t.Context(), req, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "mounting /store/input/link/dir/new: open /store/input/link: too many levels") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(canary); err != nil || len(entries) > 0 {
		t.Error("a file was made outside of the sandbox:", entries, err)
	}
}

// Each process has a session keyring of its own: keys of the caller's session are not found.
func TestKeyring(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		req := testRequest(t, "keyring")
		_, inside := run(t, req)
		_, outside := run(t, unsandboxed(t, req))
		seen[inside], seen[outside] = true, true
	}
	if id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); err == nil {
		seen[fmt.Sprintln(id, nil)] = true
	}
	if len(seen) < 4 {
		t.Errorf("processes share keyrings: %v", seen)
	}
}

// Mounts below an input are read-only too. The test program mounts one in a namespace of its own.
func TestMountsBelowInputs(t *testing.T) {
	testRequest(t)
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "PIX_TEST_CALLER=mounts", "PIX_TEST_PROBE="+probe(t), "PIX_TEST_ROOT="+t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	if want := strings.Repeat("/store/input/a b/x: EROFS\n", 2); err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}

// mounter runs the test program with an input that has a mount below it.
func mounter() int {
	dir := os.Getenv("PIX_TEST_ROOT")
	for _, old := range []bool{false, true} {
		root, input := filepath.Join(dir, fmt.Sprint("root", old)), filepath.Join(dir, fmt.Sprint("input", old))
		for _, d := range []string{root, root + "/store", root + "/tmp", input, input + "/a b"} {
			if err := os.Mkdir(d, 0o755); err != nil {
				fmt.Println(err)
				return 1
			}
		}
		if err := unix.Mount("none", input+"/a b", "tmpfs", 0, ""); err != nil {
			fmt.Println(err)
			return 1
		}
		_, err := Run(context.Background(), &Request{
			Program: "/probe", Args: []string{"probe", "write", "/store/input/a b/x"}, Dir: "/", Root: root, Memory: true, Writable: []string{"/store"},
			Mounts:    []Mount{{Source: os.Getenv("PIX_TEST_PROBE"), Target: "/probe", ReadOnly: true}, {Source: input, Target: "/store/input", ReadOnly: true}},
			oldMounts: old,
		}, os.Stdout)
		if err != nil {
			fmt.Println(err)
			return 1
		}
	}
	return 0
}
