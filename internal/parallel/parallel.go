// Package parallel runs functions on goroutines, and raises their panics again on the goroutine of the
// caller.
package parallel

import "sync"

// Do calls both functions, the first on a new goroutine, and waits for both. It returns the error of the
// first, or else the error of the second. If one of them panics, Do panics on the goroutine of its
// caller, after the first with a [*PanicError].
func Do(first, second func() error) error {
	var guard Guard
	var running sync.WaitGroup
	var firstErr error
	running.Go(func() { firstErr = guard.Call(first) })
	secondErr := func() error {
		defer running.Wait() // even if second panics
		return second()
	}()
	guard.Repanic()
	if firstErr != nil {
		return firstErr
	}
	return secondErr
}
