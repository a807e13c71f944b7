package sizes

import (
	"math"
	"testing"
)

func TestHuman(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 1 << 40: "1.0 TiB", math.MaxUint64: "16777216.0 TiB",
	} {
		if got := Human(n); got != want {
			t.Errorf("Human(%d) = %q, want %q", n, got, want)
		}
	}
}
