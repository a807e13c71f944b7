package monitor

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The totals count what the events say, and the table has a line for each operation.
func TestTotals(t *testing.T) {
	var totals Totals
	for i := range 100 {
		totals.Add(&Event{Operation: &Operation{Name: fmt.Sprint("Op", i%2), Latency: time.Duration(i) * time.Millisecond, Up: 10, Down: 20}})
	}
	totals.Add(&Event{Operation: &Operation{Name: "Op0", Error: "failed", Latency: time.Hour}})
	s := totals.Summary()
	if len(s.Operations) != 2 || s.Operations[0].Name != "Op0" || s.Operations[0].Count != 51 || s.Operations[0].Errors != 1 || s.Operations[1].Up != 500 {
		t.Errorf("got %+v", s)
	}
	sum := 0
	for _, n := range s.Operations[0].Histogram {
		sum += n
	}
	if sum != 51 || s.Operations[0].Longest != time.Hour {
		t.Errorf("got %+v", s.Operations[0])
	}
	if lines := strings.Count(s.String(), "\n"); lines != 4 {
		t.Errorf("got %d lines:\n%s", lines, s)
	}
}
