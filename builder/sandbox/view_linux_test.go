package sandbox_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pix/builder/sandbox"
)

// runView runs a shell command in a view and returns its output.
func runView(t *testing.T, v *sandbox.View, script string) (string, error) {
	t.Helper()
	cmd, err := v.Command("/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) || strings.Contains(string(out), "operation not permitted") {
		t.Skipf("this user cannot make mount namespaces here: %v, %s", err, out)
	}
	return string(out), err
}

// A program sees a directory at another place, which need not exist on this machine, and everything else as it is.
func TestView(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("contents"), 0o644); err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	v := &sandbox.View{Dirs: map[string]string{"/pix-view-test/deep/store": dir, "/usr/pix-view-test": dir}}
	out, err := runView(t, v, "cat /pix-view-test/deep/store/file /usr/pix-view-test/file; ls /pix-view-test; ls /usr/bin/env; pwd; ls -d /proc/self; grep CapEff /proc/self/status")
	want := "contentscontentsdeep\n/usr/bin/env\n" + wd + "\n/proc/self\n"
	if err != nil || !strings.HasPrefix(out, want) {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
	if os.Getuid() != 0 && !strings.Contains(out, "CapEff:\t0000000000000000") {
		t.Errorf("the program has capabilities:\n%s", out)
	}
	if _, err := os.Stat("/pix-view-test"); err == nil {
		t.Error("the view is on this machine")
	}
}

// The command ends with the exit code of the program.
func TestViewExitCode(t *testing.T) {
	v := &sandbox.View{Dirs: map[string]string{"/pix-view-test": t.TempDir()}}
	_, err := runView(t, v, "exit 42")
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 42 {
		t.Errorf("%v", err)
	}
	cmd, err := v.Command("/pix-view-test/absent")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 127 || !strings.Contains(string(out), "executing /pix-view-test/absent: no such file") {
		t.Errorf("%v, %s", err, out)
	}
}

func TestViewErrors(t *testing.T) {
	for _, dirs := range []map[string]string{
		{"relative": "/tmp"}, {"/": "/tmp"}, {"/a/../b": "/tmp"}, {"/a": "/tmp", "/a/b": "/tmp"}, {"/a": "/does/not/exist"},
	} {
		if _, err := (&sandbox.View{Dirs: dirs}).Command("/bin/true"); err == nil {
			t.Errorf("%v: no error", dirs)
		}
	}
}
