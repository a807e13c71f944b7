// Package parallel does two things at once.
package parallel

import "sync"

// Do calls both functions, the first on a goroutine of its own, and returns when both have
// ended: the error of the first, or else that of the second. A panic of either is the caller's.
func Do(first, second func() error) error {
	var wg sync.WaitGroup
	var firstErr error
	var panicked any
	wg.Add(1)
	go func() {
		defer wg.Done()
		defer func() { panicked = recover() }()
		firstErr = first()
	}()
	secondErr := func() error {
		defer wg.Wait() // also if it panics
		return second()
	}()
	if panicked != nil {
		panic(panicked)
	}
	if firstErr != nil {
		return firstErr
	}
	return secondErr
}
