package localstore

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A sorted closure in a database that Nix has written has the paths that Nix prints.
func TestRealSortedClosure(t *testing.T) {
	realnix.Each(t, func(t *testing.T, suite realnix.Suite) {
		d := realnix.Start(t, suite, nil)
		random := rand.New(rand.NewPCG(1, 2))
		const n = 600
		var lines []byte
		for i := range n {
			info := &store.PathInfo{Path: chainPath(i), NARHash: nixhash.Sum(nixhash.SHA256, nil), NARSize: 1}
			for range min(i, random.IntN(4)) {
				info.References = append(info.References, chainPath(random.IntN(i+1)))
			}
			slices.Sort(info.References)
			info.References = slices.Compact(info.References)
			lines = info.AppendRegistration(lines)
		}
		if err := os.WriteFile(d.HostPath("/tmp/registrations"), lines, 0o644); err != nil {
			t.Fatal(err)
		}
		runLocal(t, d, "sh", "-c", "nix-store --load-db < /tmp/registrations")
		s := openReal(t, d, Options{})
		for _, roots := range [][]storepath.Path{{chainPath(n - 1)}, {chainPath(n - 2), chainPath(5), chainPath(n / 2)}} {
			args := []string{"nix-store", "--query", "--requisites"}
			for _, root := range roots {
				args = append(args, string(root))
			}
			want := strings.Fields(runLocal(t, d, args...))
			slices.Sort(want)
			paths, err := store.ClosurePaths(t.Context(), s, roots...)
			if err != nil || len(paths) != len(slices.Compact(want)) {
				t.Fatalf("%d paths, %v, want %d", len(paths), err, len(want))
			}
			for i, path := range paths {
				if string(path) != want[i] {
					t.Fatalf("path %d is '%s', want '%s'", i, path, want[i])
				}
			}
			checkSortedClosure(t, s, roots...)
		}
	})
}
