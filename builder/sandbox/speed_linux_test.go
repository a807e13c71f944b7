package sandbox

import (
	"io"
	"os"
	"testing"
)

// BenchmarkRun measures a process that ends at once.
func BenchmarkRun(b *testing.B) {
	r := new(Runner)
	r.Helper = os.Getenv("PIX_SANDBOX_HELPER")
	defer r.Close()
	req := testRequest(b, "exit", "0")
	if p := os.Getenv("PIX_BENCH_PROGRAM"); p != "" {
		req.Mounts[0].Source = p
		req.Args = []string{"true"}
	}
	root := req.Root
	i := 0
	for b.Loop() {
		i++
		b.StopTimer()
		os.RemoveAll(root)
		for _, dir := range []string{"", "/tmp", "/etc", "/store"} {
			if err := os.Mkdir(root+dir, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		if result, err := r.Run(b.Context(), req, io.Discard); err != nil || result.ExitCode != 0 {
			b.Fatal(result, err)
		}
	}
}
