package live

import (
	"fmt"
	"time"
)

// formatDuration formats a duration in a few letters: 5s, 1m12s, 2h03m.
func formatDuration(d time.Duration) string {
	s := max(int64(d/time.Second), 0)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
}

// formatBytes formats a number of bytes: 12 B, 3.4 MiB.
func formatBytes(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	const units = "KMGTPE"
	for ; f >= 1023.95 && unit < len(units)-1; unit++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[unit])
}

// formatProgress formats how many bytes of a total are done. The total is 0 if it is unknown.
func formatProgress(done, total uint64) string {
	if total <= done {
		return formatBytes(done)
	}
	return formatBytes(done) + " of " + formatBytes(total)
}

// plural returns a number with the singular or plural of a word.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
