package testenv

import (
	"runtime"
	"testing"
	"time"
)

// NoLeak fails the test if goroutines are left at its end. It is to be called before any are
// started.
func NoLeak(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 200 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		buf := make([]byte, 64<<10)
		t.Errorf("%d goroutines are left of %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
	})
}
