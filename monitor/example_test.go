package monitor_test

import (
	"fmt"
	"time"

	"pix/monitor"
)

// A filter selects events before they are printed.
func Example() {
	filter := &monitor.Filter{SlowerThan: time.Millisecond}
	print := func(e *monitor.Event) {
		for _, e := range filter.Select(e) {
			fmt.Println(e)
		}
	}
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for i, latency := range []time.Duration{200 * time.Microsecond, 12 * time.Millisecond} {
		print(&monitor.Event{Time: at, Conn: 1, Operation: &monitor.Operation{
			Name: "IsValidPath", Request: fmt.Sprintf("path=/nix/store/00000000000000000000000000000000-%d", i), Reply: "valid=true", Latency: latency, Up: 64, Down: 16,
		}})
	}
	// Output:
	// 15:04:05.000000 1 IsValidPath path=/nix/store/00000000000000000000000000000000-1 ⇒ valid=true (12.0 ms, up 64 B, down 16 B)
}
