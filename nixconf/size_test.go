package nixconf_test

import (
	"math"
	"testing"

	"pix/nixconf"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "17": 17, "1K": 1024, "3m": 3 << 20, "10G": 10 << 30, "2T": 2 << 40, "18446744073709551615": math.MaxUint64} {
		if got, err := nixconf.ParseSize(text); err != nil || got != want {
			t.Errorf("%q = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "K", "-1", "1.5G", "1KB", "99999999999T", "x"} {
		if n, err := nixconf.ParseSize(text); err == nil {
			t.Errorf("%q = %d", text, n)
		}
	}
}
