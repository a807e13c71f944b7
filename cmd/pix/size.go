package main

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// units are the letters for powers of 1024.
const units = "KMGT"

// parseSize reads a number of bytes, with K, M, G or T after it for powers of 1024.
func parseSize(s string) (uint64, error) {
	digits, unit := s, uint64(1)
	if n := len(s); n > 0 {
		if i := strings.IndexByte(units, s[n-1]&^0x20); i >= 0 {
			digits, unit = s[:n-1], 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if high, low := bits.Mul64(n, unit); err == nil && high == 0 {
		return low, nil
	}
	return 0, fmt.Errorf("%q is no number of bytes; expected a number, and K, M, G or T after it", s)
}

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
