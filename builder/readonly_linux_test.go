package builder

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pix/derivation"
	"pix/store"
)

// inMountNamespace runs the rest of a test in a process with a mount namespace of its own.
func inMountNamespace(t *testing.T) (inside bool) {
	t.Helper()
	const variable = "PIX_TEST_MOUNT_NAMESPACE"
	if os.Getenv(variable) == t.Name() {
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can mount the store read-only")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	return false
}

// A store whose directory is mounted read-only, as on NixOS, can be built in, with and without a sandbox. Builders cannot write to
// it, and nothing becomes writable for other processes.
func TestReadOnlyStore(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	for name, p := range map[string]*place{"sandboxed": sandboxedPlace(t), "open": openPlace(t)} {
		dir := filepath.Dir(p.store.ObjectFile(p.anyPath()))
		first := p.script("first", "echo first > $out", nil)
		p.mustBuild(first)
		if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			t.Skipf("this root may not mount: %v", err)
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			t.Skipf("this root may not mount: %v", err)
		}
		p.store = openStore(t, p.storeOpts)
		if p.store.StoreDirName() != dir || filepath.Dir(p.store.ObjectFile(p.anyPath())) == dir {
			t.Skip("this machine has no writable clone of a mount")
		}
		input := string(outOf(first))
		out := p.mustBuild(p.script("second", "cat "+input+" > $out; echo x > "+input+" || cat $out", func(d *derivation.Derivation) {
			d.InputSources = derivation.SetOf(outOf(first))
		}))
		if text, err := os.ReadFile(out); err != nil || string(text) != "first\n" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		result, _, err := p.build(p.script("missing", "", nil))
		if err != nil || result.Status != store.OutputRejected || !strings.Contains(result.Message, `at "`+dir+"/") {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o644); err == nil {
			t.Errorf("%s: the store has become writable", name)
		}
	}
}
