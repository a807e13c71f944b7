//go:build race

package testenv

import "os"

// RaceEnabled says whether the race detector is part of the program.
const RaceEnabled = true

// The race detector delays the end of each program by a second, so that other threads can still report races. Tests
// start this program many times, so the programs that they start end at once.
func init() {
	if os.Getenv("GORACE") != "" {
		return
	}
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
}
