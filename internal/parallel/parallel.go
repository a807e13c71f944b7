// Package parallel does several things at once, and lets the panics of each be the caller's.
package parallel

import "sync"

// Do calls both functions, the first on a goroutine of its own, and returns when both have
// ended: the error of the first, or else that of the second. A panic of either is the caller's; of
// the first it is a [*PanicError].
func Do(first, second func() error) error {
	var guard Guard
	var running sync.WaitGroup
	var firstErr error
	running.Go(func() { firstErr = guard.Call(first) })
	secondErr := func() error {
		defer running.Wait() // also if it panics
		return second()
	}()
	guard.Repanic()
	if firstErr != nil {
		return firstErr
	}
	return secondErr
}
