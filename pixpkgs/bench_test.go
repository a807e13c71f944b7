package pixpkgs_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"pix/pixpkgs"
)

// thousands derives n packages, each with ten dependencies and a realistic number of variables.
func thousands(t testing.TB, n int) []*pixpkgs.Package {
	t.Helper()
	all := make([]*pixpkgs.Package, 0, n)
	for i := range n {
		s := pixpkgs.Spec{
			Name: fmt.Sprintf("package-%d-1.%d", i, i%17), System: "x86_64-linux", Builder: "/bin/sh",
			Args: []any{"-e", "/build.sh"},
			Env:  map[string]any{"pname": "package", "version": i, "doCheck": true, "phases": []string{"unpackPhase", "buildPhase"}, "script": "make install prefix=$out # and /some/other/path"},
		}
		if i >= 10 {
			s.Builder = all[0].Path("bin/bash")
			s.Args[1] = pixpkgs.Sprintf("%s/build.sh", all[1])
			var inputs []any
			for k := 1; k <= 8; k++ {
				inputs = append(inputs, all[i*k/9])
			}
			s.Env["buildInputs"] = inputs
			s.Outputs = []string{"out", "dev"}
		}
		p, err := pixpkgs.Derive(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// BenchmarkDerive30000 fails unless 30,000 packages are derived in 2 s and 1 GB.
func BenchmarkDerive30000(b *testing.B) {
	fastest, most := time.Hour, uint64(0)
	for b.Loop() {
		start := time.Now()
		all := thousands(b, 30_000)
		fastest = min(fastest, time.Since(start))
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.Sys)
		runtime.KeepAlive(all)
	}
	b.ReportMetric(fastest.Seconds(), "s-fastest")
	b.ReportMetric(float64(most)/1e6, "MB")
	if fastest > 2*time.Second || most > 1e9 {
		b.Errorf("30,000 packages took %v and %d bytes", fastest, most)
	}
}

func BenchmarkFromDerivations(b *testing.B) {
	c := loadAll(b, unpack(b, "corepkgs-aiohttp"), "/nix/store")
	b.ReportMetric(float64(c.Len()), "packages")
	for b.Loop() {
		if _, err := pixpkgs.FromDerivations(c); err != nil {
			b.Fatal(err)
		}
	}
}
