package builder

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"pix/store"
)

// resources returns how many goroutines and open files this process has.
func resources(t *testing.T) (goroutines, files int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return runtime.NumGoroutine(), len(entries)
}

// Builds leave no goroutines and no open files, however they end.
func TestNoLeaks(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		builds := func(round int) {
			p.mustBuild(p.script(fmt.Sprintf("ok%d", round), "echo > $out", nil))
			p.opts.Timeout = 50 * time.Millisecond
			p.mustFail(p.script(fmt.Sprintf("slow%d", round), "sleep 100", nil), store.TimedOut, "timed out after 0 seconds")
			p.opts.Timeout = 0
			if result, _, err := p.build(p.script(fmt.Sprintf("bad%d", round), "exit 1", nil)); err != nil || result.Status != store.PermanentFailure {
				t.Errorf("%+v, %v", result, err)
			}
		}
		builds(0) // starts the supervisor, and opens connections to the database
		goroutines, files := resources(t)
		for round := range 5 {
			builds(round + 1)
		}
		for deadline := time.Now().Add(hang); ; time.Sleep(10 * time.Millisecond) {
			nowGoroutines, nowFiles := resources(t)
			if nowGoroutines <= goroutines+1 && nowFiles <= files+1 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d goroutines and %d files became %d and %d", goroutines, files, nowGoroutines, nowFiles)
			}
		}
	})
}
