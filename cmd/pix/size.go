package main

import (
	"fmt"
	"strconv"
)

// units are the letters for powers of 1024.
const units = "KMGT"

// humanSize spells a number of bytes for people.
func humanSize(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1023.95 && i < len(units)-1; i++ { // which would be rounded to 1024.0
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

// spellSize spells a number of bytes, for people if human.
func spellSize(n uint64, human bool) string {
	if human {
		return humanSize(n)
	}
	return strconv.FormatUint(n, 10)
}
