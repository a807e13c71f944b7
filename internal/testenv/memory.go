package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// childVariable is the environment variable of a child process that contains the name of its test.
const childVariable = "PIX_TEST_CHILD"

// MaxResident runs body in a separate process. It fails the test if that process fails, or if more than
// limit bytes of it were resident at any time. It skips the test if /proc does not report the peak, and
// under the race detector, which needs several times as much memory.
func MaxResident(t *testing.T, limit int64, body func(t *testing.T)) {
	t.Helper()
	if os.Getenv(childVariable) == t.Name() {
		body(t)
		fmt.Printf("\npeak %d\n", peak(t))
		return
	}
	if _, err := os.Stat("/proc/self/status"); err != nil || RaceEnabled {
		t.Skip("the memory of a process cannot be measured here")
	}
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	cmd := exec.Command(os.Args[0], "-test.run="+strings.Join(pattern, "/"), "-test.timeout=2m")
	cmd.Env = append(os.Environ(), childVariable+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the child process: %v\n%s", err, out)
	}
	var got int64
	if _, after, ok := strings.Cut(string(out), "\npeak "); ok {
		fmt.Sscan(after, &got)
	}
	if got == 0 {
		t.Fatalf("the child process did not print its peak memory:\n%s", out)
	}
	t.Logf("%d MiB were resident at most", got>>20)
	if got > limit {
		t.Errorf("%d MiB were resident, and the limit is %d MiB", got>>20, limit>>20)
	}
}

// peak returns the largest number of resident bytes of this process so far.
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
