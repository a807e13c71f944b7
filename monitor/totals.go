package monitor

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"
)

// Totals count the events of a monitor. Its methods may be called by any number of goroutines.
type Totals struct {
	mu         sync.Mutex
	operations map[string]*OperationTotals
	opened     int
	open       int
	failed     int
	raw        int
	up, down   int64
}

// OperationTotals are the numbers of one operation.
type OperationTotals struct {
	Name      string        `json:"name"`
	Count     int           `json:"count"`
	Errors    int           `json:"errors"` // calls with an error, or without a result
	Up        int64         `json:"up"`     // bytes from the client
	Down      int64         `json:"down"`   // bytes from the daemon
	Time      time.Duration `json:"time"`   // the sum of the latencies
	Longest   time.Duration `json:"longest"`
	Histogram []int         `json:"histogram"` // element i counts latencies from 2^(i-1) to 2^i µs
}

// A Summary is a copy of the totals.
type Summary struct {
	Connections int               `json:"connections"`
	Open        int               `json:"open"`
	Failed      int               `json:"failed"`
	Raw         int               `json:"raw"` // connections that were not understood to their end
	Up          int64             `json:"up"`  // bytes from the clients, on connections that have ended
	Down        int64             `json:"down"`
	Operations  []OperationTotals `json:"operations"` // by the sum of their latencies, the largest first
}

// maxBuckets limits the length of a histogram: the last bucket has everything from 18 minutes on.
const maxBuckets = 32

// Add counts an event.
func (t *Totals) Add(e *Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case e.Client != nil:
		t.opened++
		t.open++
	case e.Failure != nil:
		t.failed++
		t.open--
	case e.Raw != nil && e.Raw.Reason != "":
		t.raw++
	case e.Close != nil:
		t.open--
		t.up += e.Close.Up
		t.down += e.Close.Down
	case e.Operation != nil:
		t.add(e.Operation)
	}
}

func (t *Totals) add(op *Operation) {
	if t.operations == nil {
		t.operations = make(map[string]*OperationTotals)
	}
	o := t.operations[op.Name]
	if o == nil {
		o = &OperationTotals{Name: op.Name}
		t.operations[op.Name] = o
	}
	o.Count++
	o.Up += op.Up
	o.Down += op.Down
	if op.Error != "" || op.Unfinished != "" {
		o.Errors++
	}
	o.Time += op.Latency
	o.Longest = max(o.Longest, op.Latency)
	bucket := min(bits.Len64(uint64(max(op.Latency, 0).Microseconds())), maxBuckets-1)
	for len(o.Histogram) <= bucket {
		o.Histogram = append(o.Histogram, 0)
	}
	o.Histogram[bucket]++
}

// Summary returns the totals.
func (t *Totals) Summary() Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Summary{Connections: t.opened, Open: t.open, Failed: t.failed, Raw: t.raw, Up: t.up, Down: t.down}
	for _, o := range t.operations {
		c := *o
		c.Histogram = slices.Clone(o.Histogram)
		s.Operations = append(s.Operations, c)
	}
	slices.SortFunc(s.Operations, func(a, b OperationTotals) int {
		if a.Time != b.Time {
			return int(min(max(b.Time-a.Time, -1), 1))
		}
		return strings.Compare(a.Name, b.Name)
	})
	return s
}

// String returns the summary as a table, with a histogram of each operation: a bar for each power
// of two, from the fastest to the slowest call of any operation.
func (s Summary) String() string {
	var b strings.Builder
	b.WriteString(count(s.Connections, "connection"))
	for _, part := range []struct {
		n    int
		what string
	}{{s.Open, "open"}, {s.Failed, "failed"}, {s.Raw, "raw"}} {
		if part.n > 0 {
			fmt.Fprintf(&b, ", %d %s", part.n, part.what)
		}
	}
	fmt.Fprintf(&b, ", up %s, down %s\n", showSize(s.Up), showSize(s.Down))
	if len(s.Operations) == 0 {
		return b.String()
	}
	first, last := s.buckets()
	fmt.Fprintf(&b, "%-28s %8s %6s %10s %10s %10s %10s  %s to %s\n", "OPERATION", "CALLS", "ERRORS", "MEAN", "LONGEST", "UP", "DOWN",
		showTime(bucketStart(first)), showTime(bucketStart(last+1)))
	for _, o := range s.Operations {
		fmt.Fprintf(&b, "%-28s %8d %6d %10s %10s %10s %10s  %s\n", plain(o.Name), o.Count, o.Errors,
			showTime(o.Time/time.Duration(o.Count)), showTime(o.Longest), showSize(o.Up), showSize(o.Down), o.bars(first, last))
	}
	return b.String()
}

// buckets returns the first and the last bucket that any operation uses.
func (s Summary) buckets() (first, last int) {
	first = maxBuckets
	for _, o := range s.Operations {
		last = max(last, len(o.Histogram)-1)
		first = min(first, slices.IndexFunc(o.Histogram, func(n int) bool { return n > 0 }))
	}
	return max(first, 0), last
}

// bucketStart returns the shortest latency of a bucket.
func bucketStart(i int) time.Duration {
	if i == 0 {
		return 0
	}
	return time.Duration(1) << (i - 1) * time.Microsecond
}

// bars returns a histogram as a row of bars.
func (o *OperationTotals) bars(first, last int) string {
	const levels = "▁▂▃▄▅▆▇█"
	runes := []rune(levels)
	most := slices.Max(o.Histogram)
	row := make([]rune, 0, last-first+1)
	for i := first; i <= last; i++ {
		n := 0
		if i < len(o.Histogram) {
			n = o.Histogram[i]
		}
		if n == 0 {
			row = append(row, ' ')
			continue
		}
		row = append(row, runes[(n*len(runes)-1)/most])
	}
	return strings.TrimRight(string(row), " ")
}
