package testenv

import (
	"errors"
	"runtime"
	"testing"
	"time"
)

// ErrPanic is the value of the panics of [Fault].
var ErrPanic = errors.New("a panic of the test")

// Fault panics with [ErrPanic], or, with goexit, ends the goroutine.
func Fault(goexit bool) {
	if goexit {
		runtime.Goexit()
	}
	panic(ErrPanic)
}

// Outcome calls f on a new goroutine, and returns how it ended: "returned", "exited" for
// runtime.Goexit, or the value of its panic. The test fails if f hangs.
func Outcome(t testing.TB, f func()) any {
	t.Helper()
	ended := make(chan any, 1)
	go func() {
		how := any("exited")
		defer func() {
			if v := recover(); v != nil {
				how = v
			}
			ended <- how
		}()
		f()
		how = "returned"
	}()
	select {
	case how := <-ended:
		return how
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("the function hangs:\n%s", buf[:runtime.Stack(buf, true)])
		return nil
	}
}

// CheckFault checks that f ends as [Fault] does, also if Fault was called on another goroutine.
func CheckFault(t testing.TB, goexit bool, f func()) {
	t.Helper()
	how := Outcome(t, f)
	if err, _ := how.(error); goexit && how != "exited" || !goexit && !errors.Is(err, ErrPanic) {
		t.Errorf("it ended with %v", how)
	}
}
