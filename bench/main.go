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

// rounds is how often everything is measured; the median counts.
const rounds = 5

// A contender does some work once.
type contender struct {
	name string
	run  func() error
}

// A figure is what was measured of a contender.
type figure struct {
	name   string
	time   time.Duration // of the processor; the median
	allocs uint64        // of one run
}

// race measures all contenders in turn, so that what else the machine does meets all of
// them alike.
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

// cpuTime returns for how long this process has run, garbage collector and all. On one core
// that is the time on the clock, unless another process wants the core too.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err) // there is nothing that could be wrong with it
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
