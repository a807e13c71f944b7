package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . DIR...")
		os.Exit(2)
	}
	runtime.GOMAXPROCS(1)
	texts, err := load(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if err := derivations(texts); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// rounds is the number of measurements; the median counts.
const rounds = 5

// A contender performs some work once.
type contender struct {
	name string
	run  func() error
}

// A figure is the measurement of a contender.
type figure struct {
	name   string
	time   time.Duration // processor time; the median
	allocs uint64        // of one run
}

// race measures all contenders in turn, so that other load on the machine affects all of them
// equally.
func race(contenders []contender) ([]figure, error) {
	times := make([][]time.Duration, len(contenders))
	figures := make([]figure, len(contenders))
	for range rounds {
		for i, c := range contenders {
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := cpuTime()
			if err := c.run(); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			times[i] = append(times[i], cpuTime()-start)
			runtime.ReadMemStats(&after)
			figures[i].allocs = after.Mallocs - before.Mallocs
		}
	}
	for i, c := range contenders {
		slices.Sort(times[i])
		figures[i].name, figures[i].time = c.name, times[i][rounds/2]
	}
	return figures, nil
}

// cpuTime returns the processor time of this process, with the garbage collector. On one core that is the
// elapsed time, unless another process uses the core too.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err) // these arguments are always valid
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
