package main

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// onProcessor calls f. The processes that f starts, and their children, run only on one processor.
func onProcessor(n int, f func()) error {
	runtime.LockOSThread() // a process inherits the processors of the thread that starts it
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if !before.IsSet(n) {
		return fmt.Errorf("this process may not run on processor %d", n)
	}
	one.Set(n)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &before)
	f()
	return nil
}
