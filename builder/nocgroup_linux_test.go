package builder

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/builder/sandbox"
)

// cgroupsVariable makes the test binary run TestWithoutCgroups in a mount namespace of its own.
const cgroupsVariable = "PIX_TEST_CGROUPS"

// On a machine without cgroups of version 2, and on one where this process may not make any, builds that ask for a cgroup run
// without one and say why. All their processes end nevertheless.
func TestWithoutCgroups(t *testing.T) {
	if how := os.Getenv(cgroupsVariable); how != "" {
		buildWithoutCgroups(t, how)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can unmount the cgroups")
	}
	for _, how := range []string{"unmounted", "read-only"} {
		t.Run(how, func(t *testing.T) {
			if how == "read-only" && ownCgroup() == "" {
				t.Skip("this machine has no cgroups of version 2")
			}
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestWithoutCgroups$", "-test.v")
			cmd.Env = append(os.Environ(), cgroupsVariable+"="+how)
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// hideCgroups unmounts the cgroups of this mount namespace, or makes them read-only.
func hideCgroups(t *testing.T, how string) {
	t.Helper()
	for mount := cgroupMount(); mount != ""; mount = cgroupMount() {
		if how == "read-only" {
			if err := unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
}

func buildWithoutCgroups(t *testing.T, how string) {
	hideCgroups(t, how)
	want := "warning: this machine has no cgroups of version 2, so builds do not get any"
	if how == "read-only" {
		want = "warning: builds do not get cgroups, since the cgroup of this process is not delegated to it: mkdir " + ownCgroup() + "/"
	}
	both(t, func(t *testing.T, p *place) {
		p.withUsers(1)
		p.opts.Cgroups = true
		sleep := sleeper()
		req := p.script("nocgroup", "(sleep "+sleep+" &) ; (setsid sleep "+sleep+" &); echo > $out", nil)
		result, events, err := p.build(req)
		if err != nil || !result.Status.Succeeded() || result.CPUUser == nil {
			t.Fatalf("%+v, %v", result, err)
		}
		if !slices.ContainsFunc(events, func(e activity.Event) bool {
			log, ok := e.(activity.Log)
			return ok && strings.HasPrefix(log.Text, want)
		}) {
			t.Errorf("no warning in %q", events)
		}
		p.checkGone(sleep)
	})
	findings, err := sandbox.Examine(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if findings.Cgroups == nil || findings.Namespaces != nil {
		t.Errorf("%+v", findings)
	}
}
