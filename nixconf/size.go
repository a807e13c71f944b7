package nixconf

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// units are the letters for powers of 1024.
const units = "KMGT"

// ParseSize reads a number of bytes, with K, M, G or T after it for powers of 1024, as it stands in
// nix.conf.
func ParseSize(s string) (uint64, error) {
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
