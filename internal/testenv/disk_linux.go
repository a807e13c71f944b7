package testenv

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// OnSmallDisk runs the test again in a process of its own, with a file system of this size in a directory, such as "12m", and calls
// f there. It skips the test where the process cannot have namespaces.
func OnSmallDisk(t *testing.T, size string, f func(t *testing.T, dir string)) {
	t.Helper()
	const child = "PIX_TEST_SMALL_DISK"
	if dir := os.Getenv(child); dir != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			missingNamespaces(t, err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
			missingNamespaces(t, err)
		}
		f(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil && !errors.As(err, new(*exec.ExitError)):
		missingNamespaces(t, err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case err != nil:
		t.Errorf("%s", out)
	default:
		t.Logf("%s", out)
	}
}

// missingNamespaces skips a test that needs namespaces. It fails where daemons are required, because these need namespaces, too.
func missingNamespaces(t *testing.T, err error) {
	t.Helper()
	Missing(t, "daemons", "this process cannot have namespaces: "+err.Error())
}
