package live

import (
	"fmt"
	"time"
)

// spellTime spells a duration in a few letters: 5s, 1m12s, 2h03m.
func spellTime(d time.Duration) string {
	s := max(int64(d/time.Second), 0)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
}

// spellBytes spells a number of bytes: 12 B, 3.4 MiB.
func spellBytes(n uint64) string {
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

// spellPart spells how many bytes of how many there are. The whole is 0 if nobody knows.
func spellPart(done, whole uint64) string {
	if whole <= done {
		return spellBytes(done)
	}
	return spellBytes(done) + " of " + spellBytes(whole)
}

// plural returns the word for n things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
