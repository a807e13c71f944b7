package sizes

import (
	"math"
	"testing"
)

// The texts equal those from renderSize in Nix 2.34.8.
func TestSpell(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0.0 KiB", 5: "0.0 KiB", 112: "0.1 KiB", 1024: "1.0 KiB", -4096: "-4.0 KiB", 1 << 20: "1024.0 KiB", 1100 << 10: "1.1 MiB",
		3 << 30: "3.0 GiB", math.MaxInt64: "8.0 EiB",
	} {
		if got := Spell(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
