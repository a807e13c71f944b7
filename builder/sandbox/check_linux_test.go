package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExamine(t *testing.T) {
	f, err := Examine(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", f)
	if f.Kernel == "" || f.Namespaces != nil && f.Namespaces.Error() == "" {
		t.Errorf("got %+v", f)
	}
	b, err := os.ReadFile("/proc/self/uid_map")
	if os.Geteuid() == 0 && err == nil && strings.Contains(string(b), "4294967295") && f.Namespaces == nil && (f.BuildUsers != nil || f.Ranges != nil) {
		t.Errorf("got %v and %v", f.BuildUsers, f.Ranges)
	}
	if f.Filter != nil {
		t.Error(f.Filter)
	}
}

// The error of a step that this machine refuses names the step and wraps the system call's error.
func TestSetupErrors(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Request)
		step   string
		errno  error
	}{
		"mount":  {func(r *Request) { r.Mounts[0].Source = "/nope" }, "getting attributes of path '/nope'", unix.ENOENT},
		"root":   {func(r *Request) { r.Root = "/nope" }, "mounting the root directory /nope", unix.ENOENT},
		"dir":    {func(r *Request) { r.Dir = "/nope" }, "changing to the directory /nope", unix.ENOENT},
		"cgroup": {func(r *Request) { r.Cgroup = r.Root }, "starting a process in new namespaces: entering its cgroup", unix.EBADF},
		"shm":    {func(r *Request) { r.SharedMemory = "much" }, "mounting /dev/shm", unix.EINVAL},
		"users":  {func(r *Request) { r.Memory = false; r.IDs = 1 << 16; r.HostUID = 1<<31 - 1; r.HostUID *= 2 }, "starting a process in new namespaces: mapping users and groups", unix.EINVAL},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t)
			req := testRequest(t, "echo", "x")
			test.change(req)
			_, err := r.Run(t.Context(), req, io.Discard)
			e, ok := errors.AsType[*SetupError](err)
			if ok && name == "users" && e.Step == "opening a pseudo terminal" {
				return // this is a user namespace itself
			}
			if !ok || e.Step != test.step || !errors.Is(err, test.errno) && name != "users" {
				t.Errorf("got %v", err)
			}
		})
	}
	req := testRequest(t, "echo", "x")
	req.Mounts[0].Source, req.Mounts[0].Optional = "/nope", true
	if result, log := run(t, req); result.ExitCode != 1 || !strings.Contains(log, "executing '/store/probe'") {
		t.Errorf("an optional mount: got %+v, %q", result, log)
	}
}

func TestInvalidRequests(t *testing.T) {
	for name, change := range map[string]func(*Request){
		"NUL in an argument": func(r *Request) { r.Args = []string{"a\x00b"} },
		"NUL in a mount":     func(r *Request) { r.Mounts[0].Target += "\x00" },
		"relative root":      func(r *Request) { r.Root = "root" },
		"no directory":       func(r *Request) { r.Dir = "" },
		"mount options":      func(r *Request) { r.SharedMemory = "1,exec" },
		"NUL in a directory": func(r *Request) { r.Writable = []string{"/a\x00"} },
		"the real root":      func(r *Request) { r.Root = "//" },
		"mount at the root":  func(r *Request) { r.Mounts[0].Target = "/store/.." },
		"negative user":      func(r *Request) { r.UID = -1 },
		"range in memory":    func(r *Request) { r.IDs = 1 << 16 },
		"writable in memory": func(r *Request) { r.RootWritable = true },
		"files on the disk":  func(r *Request) { r.Memory, r.Files = false, []File{{"/etc/x", ""}} },
		"relative file":      func(r *Request) { r.Files = []File{{"x", ""}} },
	} {
		req := testRequest(t, "echo", "x")
		change(req)
		if _, err := Run(t.Context(), req, io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A request arrives as it was sent, byte for byte.
func TestCoder(t *testing.T) {
	req := testRequest(t)
	req.Env, req.Args = []string{"A=\xff\n", ""}, []string{"", "\xfe"}
	req.Input, req.Groups, req.Linux26 = []byte{0, 1}, []int{5, -1}, true
	var got Request
	data := encode(req)
	if err := decode(data, &got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encode(&got), data) || got.Env[0] != req.Env[0] || got.Groups[1] != -1 {
		t.Errorf("got %+v", got)
	}
	for n := range data {
		if err := decode(data[:n], new(Request)); err == nil {
			t.Errorf("%d bytes of %d are a request", n, len(data))
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(encode(&Request{Program: "/x", Args: []string{"a"}, Mounts: []Mount{{Source: "/a", Target: "/b"}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var req Request
		if err := decode(data, &req); err == nil {
			if err := decode(encode(&req), new(Request)); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCheckStatic(t *testing.T) {
	if err := CheckStatic(probe(t)); err != nil {
		t.Error(err)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{script, "/nope"} {
		if CheckStatic(file) == nil {
			t.Errorf("%s is static", file)
		}
	}
	if shell := FindShell(); shell != "" {
		if err := CheckStatic(shell); err != nil {
			t.Error(err)
		}
	}
}

func TestRange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has a range of users")
	}
	req := testRequest(t, "look")
	const user = 1358954496 // no build of another program has this user, or kills its processes
	setUser(t, req, user)
	req.UID, req.GID, req.IDs, req.RootWritable, req.Memory = 0, 0, 1<<16, true, false
	if err := os.Chown(req.Root, user, user); err != nil { // setUser has found that user
		t.Fatal(err)
	}
	_, log := run(t, req)
	for _, want := range []string{"CapEff:\t000001ff", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "write /x : <nil>", "uid_map = 0 1358954496      65536", "setgroups = allow", " /sys rw"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is missing in\n%s", want, log)
		}
	}
}

func TestSystem(t *testing.T) {
	if abis["amd64"] == nil {
		t.Skip("only amd64 has the systems of this table")
	}
	for system, want := range map[string]string{"i686-linux": "0x40008", "x86_64-linux": "0x40000", "": "0x40000"} {
		req := testRequest(t, "look")
		req.System = system
		if _, log := run(t, req); !strings.Contains(log, "personality = "+want+"\n") {
			t.Errorf("%s: got %s", system, log)
		}
	}
	req := testRequest(t, "look")
	req.Linux26 = true
	if _, log := run(t, req); !strings.Contains(log, "personality = 0x60000\n") {
		t.Error("the kernel does not report a version 2.6")
	}
}

// A process is in its cgroup, which is empty at its end. Processes that it leaves behind are killed.
func TestCgroup(t *testing.T) {
	parent, err := tryCgroup()
	if err != nil {
		t.Skip("this process cannot make cgroups: ", err)
	}
	bothKinds(t, func(t *testing.T, req *Request, sandboxed bool) {
		r := newRunner(t)
		inCgroup := func(ctx context.Context, log io.Writer) error {
			if req.Cgroup, err = os.MkdirTemp(parent, "pix-test-"); err != nil {
				t.Fatal(err)
			}
			_, err := r.Run(ctx, req, log)
			if err := os.Remove(req.Cgroup); err != nil {
				t.Error(err)
			}
			return err
		}
		if err := inCgroup(t.Context(), io.Discard); err != nil {
			t.Error(err)
		}
		req.Args = []string{"probe", "sleep"} // until the test has seen it
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		seen := errors.New("seen")
		err := inCgroup(ctx, writerFunc(func([]byte) {
			if procs, err := os.ReadFile(req.Cgroup + "/cgroup.procs"); err != nil || len(procs) == 0 {
				t.Errorf("the cgroup has the processes %q, %v", procs, err)
			}
			cancel(seen)
		}))
		if err != seen {
			t.Error(err)
		}
	}, "daemon")
}

// A writerFunc is a log that calls a function with its output.
type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// The error says what to enable on a machine without user namespaces: here one that is a user namespace itself.
func TestAdvice(t *testing.T) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "PIX_TEST_CALLER=advice")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Skipf("this machine has no user namespaces: %v %s", err, out)
	}
	want := "setting up the sandbox: starting a process in new namespaces: a user namespace: no space left on device\n" +
		"User namespaces are switched off. As root: sysctl -w user.max_user_namespaces=10000\n"
	if string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

// adviser switches user namespaces off and prints the error of a trial.
func adviser() int {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(Check(context.Background()))
	return 0
}

func TestHelperBeside(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(program), "pix-sandbox")
	if HelperBeside() != "" {
		t.Fatal("there is a helper")
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file)
	if HelperBeside() != file {
		t.Error("it is not found")
	}
	r := &Runner{Helper: file}
	defer r.Close()
	if result, err := r.Run(t.Context(), testRequest(t, "exit", "3"), io.Discard); err != nil || result.ExitCode != 3 {
		t.Error(result, err)
	}
	if err := os.Chmod(file, 0o775); err != nil {
		t.Fatal(err)
	}
	if HelperBeside() != "" {
		t.Error("a helper that others can change is used")
	}
}

// Root, whose rights do not count in a user namespace, cannot enter a directory of another user. The error says so, and does not
// blame the machine.
func TestRootBelowPrivateDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has directories of another user")
	}
	req := testRequest(t, "exit", "0")
	private := filepath.Dir(req.Root)
	if err := errors.Join(os.Chown(private, 12345, 12345), os.Chmod(private, 0o700)); err != nil {
		t.Skipf("this root cannot give a directory away: %v", err)
	}
	_, err := Run(t.Context(), req, io.Discard)
	setup, ok := errors.AsType[*SetupError](err)
	if !ok || !errors.Is(err, unix.EACCES) || setup.Step != stepRoot+" "+req.Root || !strings.Contains(setup.Advice, "chmod o+x") {
		t.Errorf("%v", err)
	}
}
