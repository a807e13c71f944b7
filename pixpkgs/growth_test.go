package pixpkgs_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"pix/pixpkgs"
)

// sizes returns the numbers of packages at which growth is measured.
func sizes() []int {
	if os.Getenv("PIX_LONG") != "" {
		return []int{1_000, 10_000, 30_000}
	}
	return []int{300, 3_000}
}

// checkGrowth checks that the allocations and the allocated bytes per package do not grow with the number of packages.
// Seconds would depend on the machine.
func checkGrowth(t *testing.T, derive func(n int)) {
	t.Helper()
	var first, firstBytes float64
	for i, n := range sizes() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		derive(n)
		runtime.ReadMemStats(&after)
		count, bytes := float64(after.Mallocs-before.Mallocs)/float64(n), float64(after.TotalAlloc-before.TotalAlloc)/float64(n)
		t.Logf("%d packages: %.0f allocations and %.0f bytes each", n, count, bytes)
		if i == 0 {
			first, firstBytes = count, bytes
		}
		if count > 1.2*first || bytes > 1.2*firstBytes {
			t.Errorf("%d packages make %.0f allocations and %.0f bytes each, the smallest number of packages %.0f and %.0f", n, count, bytes, first, firstBytes)
		}
	}
}

func TestDeriveGrowth(t *testing.T) {
	checkGrowth(t, func(n int) { thousands(t, n) })
}

// A set in which each package needs the one before it is derived in linear time.
func TestAllGrowth(t *testing.T) {
	checkGrowth(t, func(n int) {
		set := map[string]*pixpkgs.Lazy{}
		var last *pixpkgs.Lazy
		for i := range n {
			needed := last
			last = pixpkgs.Define(func() pixpkgs.Spec {
				s := pixpkgs.Spec{Name: fmt.Sprint("package-", i), System: "x86_64-linux", Builder: "/bin/sh"}
				if needed != nil {
					s.Env = map[string]any{"needed": needed}
				}
				return s
			})
			set[fmt.Sprint("p", i)] = last
		}
		all, err := pixpkgs.All(&set)
		if err != nil || len(all) != n {
			t.Fatalf("%d packages, %v", len(all), err)
		}
	})
}
