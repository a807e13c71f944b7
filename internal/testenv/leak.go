package testenv

import (
	"runtime"
	"testing"
	"time"
)

// NoLeak fails the test if it leaves goroutines behind. Call it before the test starts any.
func NoLeak(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if runtime.NumGoroutine() <= before {
				return
			}
		}
		buf := make([]byte, 64<<10)
		t.Errorf("there are %d goroutines, and were %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
	})
}
