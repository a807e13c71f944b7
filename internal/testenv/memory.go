package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// childVariable names, in the environment of a child process, the test that it is for.
const childVariable = "PIX_TEST_CHILD"

// MaxResident runs a scene in a process of its own, and fails the test if that fails, or if more than
// limit bytes of the process were resident at any time. It skips where no /proc says how much that
// was, and with the race detector, which needs several times as much.
func MaxResident(t *testing.T, limit int64, scene func(t *testing.T)) {
	t.Helper()
	if os.Getenv(childVariable) == t.Name() {
		scene(t)
		fmt.Printf("\npeak %d\n", peak(t))
		return
	}
	if _, err := os.Stat("/proc/self/status"); err != nil || RaceEnabled {
		t.Skip("how much memory a process takes cannot be measured here")
	}
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	cmd := exec.Command(os.Args[0], "-test.run="+strings.Join(pattern, "/"), "-test.timeout=2m")
	cmd.Env = append(os.Environ(), childVariable+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the process of the scene: %v\n%s", err, out)
	}
	var got int64
	if _, after, ok := strings.Cut(string(out), "\npeak "); ok {
		fmt.Sscan(after, &got)
	}
	if got == 0 {
		t.Fatalf("the process of the scene did not say how much memory it took:\n%s", out)
	}
	t.Logf("%d MiB were resident at most", got>>20)
	if got > limit {
		t.Errorf("%d MiB were resident, and the limit is %d MiB", got>>20, limit>>20)
	}
}

// peak returns how many bytes of this process were resident at most.
func peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var kilobytes int64
	if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
		fmt.Sscan(after, &kilobytes)
	}
	return kilobytes << 10
}
