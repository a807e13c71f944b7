package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
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
	time   time.Duration // the median
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
			start := time.Now()
			if err := c.run(); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			times[i] = append(times[i], time.Since(start))
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
