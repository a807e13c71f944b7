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
	"sync"
	"testing"
)

// probe returns the static program of testdata/probe.
func probe(t testing.TB) string {
	t.Helper()
	return testProgram(t, "probe", "")
}

// testProgram returns a static program of testdata for a GOARCH; "" is this machine.
func testProgram(t testing.TB, name, goarch string) string {
	t.Helper()
	programs.Lock()
	defer programs.Unlock()
	if file := programs.built[name+goarch]; file != "" {
		return file
	}
	if programs.dir == "" {
		dir, err := os.MkdirTemp("", "pix-probe-")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil { // processes of other users execute them
			t.Fatal(err)
		}
		programs.dir, programs.built = dir, map[string]string{}
	}
	file := filepath.Join(programs.dir, filepath.Base(name)+goarch)
	c := exec.Command("go", "build", "-o", file, "./testdata/"+name)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if goarch != "" {
		c.Env = append(c.Env, "GOARCH="+goarch)
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Skipf("the Go toolchain does not build the test program: %v: %s", err, out)
	}
	programs.built[name+goarch] = file
	return file
}

var programs struct {
	sync.Mutex
	dir   string
	built map[string]string
}

// testRequest returns a request that runs the test program with these arguments in a new root directory.
func testRequest(t testing.TB, args ...string) *Request {
	t.Helper()
	if err := Check(t.Context()); err != nil {
		t.Skip("this machine has no sandbox: ", err)
	}
	root := filepath.Join(t.TempDir(), "root")
	for _, dir := range []string{"", "/tmp", "/etc", "/store"} {
		if err := os.Mkdir(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build := filepath.Join(filepath.Dir(root), "build")
	if err := os.Mkdir(build, 0o700); err != nil {
		t.Fatal(err)
	}
	return &Request{
		Program: "/store/probe", Args: append([]string{"probe"}, args...), Env: []string{"A=b"}, Dir: "/build",
		Root: root, Memory: true, Writable: []string{"/store", "/tmp"},
		Mounts: []Mount{
			{Source: probe(t), Target: "/store/probe", ReadOnly: true},
			{Source: build, Target: "/build"},
		},
		UID: 1000, GID: 100,
	}
}

func TestRun(t *testing.T) {
	var log bytes.Buffer
	result, err := Run(t.Context(), testRequest(t, "echo", "hello"), &log)
	if err != nil {
		t.Fatal(err)
	}
	if *result != (Result{CPUUser: result.CPUUser, CPUSystem: result.CPUSystem}) || log.String() != "hello\n" {
		t.Errorf("got %+v and %q", result, log.String())
	}
}

func TestUnsandboxed(t *testing.T) {
	req := testRequest(t, "echo", "hello")
	req.Program, req.Root, req.Mounts, req.Writable, req.Dir = probe(t), "", nil, nil, t.TempDir()
	var log bytes.Buffer
	result, err := Run(t.Context(), req, &log)
	if err != nil {
		t.Fatal(err)
	}
	if *result != (Result{CPUUser: result.CPUUser, CPUSystem: result.CPUSystem}) || log.String() != "hello\n" {
		t.Errorf("got %+v and %q", result, log.String())
	}
}

func init() {
	Register("test:look", func(ctx context.Context, input []byte, log io.Writer) error {
		wd, err := os.Getwd()
		if err != nil {
			return err
		}
		entries, err := os.ReadDir("/")
		if err != nil {
			return err
		}
		fmt.Fprintln(log, wd, os.Getuid(), os.Getgid(), string(input))
		for _, e := range entries {
			fmt.Fprint(log, e.Name(), " ")
		}
		return errors.New("no more")
	})
}

func TestBuiltin(t *testing.T) {
	req := testRequest(t)
	req.Builtin, req.Input, req.Program = "test:look", []byte("in"), ""
	var log bytes.Buffer
	result, err := Run(t.Context(), req, &log)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/build 1000 100 in\nbuild dev proc store tmp error: no more\n"; result.ExitCode != 1 || log.String() != want {
		t.Errorf("got %+v and %q, want %q", result, log.String(), want)
	}
}

func TestCheck(t *testing.T) {
	testRequest(t)
	r := new(Runner)
	defer r.Close()
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}
