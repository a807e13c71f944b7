package localstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/internal/powercut"
	"pix/internal/realnix"
	"pix/internal/testenv"
	"pix/storepath"
)

// powerCutChild is the environment variable of the process whose work is cut: a line that says whether objects are
// synced, and then the root of the store.
const powerCutChild = "LOCALSTORE_TEST_POWERCUT"

// After a power cut at any moment the store can be opened. If objects are synced, every valid path is complete.
// Otherwise verification finds the incomplete ones. Package powercut describes which writes may be lost.
func TestPowerCut(t *testing.T) {
	if args := os.Getenv(powerCutChild); args != "" {
		root, synced := strings.CutPrefix(args, "synced\n")
		workUntilCut(t, root, synced)
		return
	}
	if err := powercut.Available(); err != nil {
		t.Skip("nothing can be recorded: ", err)
	}
	r := recordWork(t, "synced\n")
	t.Run("objects are synced", func(t *testing.T) {
		tryCuts(t, r, drawCuts(r, 100), checkAfterCut)
	})
	t.Run("Nix verifies", func(t *testing.T) { nixVerifiesAfterCuts(t, r) })
	t.Run("objects are not synced", func(t *testing.T) {
		r := recordWork(t, "")
		tryCuts(t, r, drawCuts(r, 25), checkOpensAfterCut)
	})
}

// recordWork records the work of workUntilCut.
func recordWork(t *testing.T, args string) *powercut.Recording {
	t.Helper()
	root := filepath.Join(t.TempDir(), "store")
	testenv.RemoveStore(t, root)
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPowerCut$")
	cmd.Env = append(os.Environ(), powerCutChild+"="+args+root)
	r, err := powercut.Record(cmd, root)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A cut is a power cut after a number of operations. Some of the operations are lost.
type cut struct {
	after int
	lost  []int
}

// tryCuts calls check for each cut.
func tryCuts(t *testing.T, r *powercut.Recording, cuts []cut, check func(context.Context, *powercut.Recording, cut) error) {
	t.Helper()
	failed := 0
	for _, c := range cuts {
		if err := check(t.Context(), r, c); err != nil {
			t.Errorf("after %s, without\n%s\nthe error is %v", r.Describe(c.after-1), r.Describe(c.lost...), err)
			if failed++; failed == 5 {
				t.Fatal("further errors are not reported")
			}
		}
	}
	t.Logf("%d operations, %d power cuts", r.Len(), len(cuts))
}

// drawCuts returns random power cuts. With PIX_LONG it returns cuts after each operation, in which none, all, one or
// two of the operations that were not synced are lost, and 1,000 in which a random selection is lost.
func drawCuts(r *powercut.Recording, some int) (cuts []cut) {
	for n := 1; n <= r.Len(); n++ {
		pending := r.Pending(n)
		cuts = append(cuts, cut{n, nil}, cut{n, pending})
		if len(pending) > 0 {
			one := func() int { return pending[rand.IntN(len(pending))] }
			cuts = append(cuts, cut{n, []int{one()}}, cut{n, []int{one(), one()}})
		}
	}
	random := 1000
	if os.Getenv("PIX_LONG") == "" {
		rand.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
		cuts, random = cuts[:min(some, len(cuts))], some/2
	}
	for range random {
		n := 1 + rand.IntN(r.Len())
		lost := slices.DeleteFunc(r.Pending(n), func(int) bool { return rand.IntN(2) == 0 })
		cuts = append(cuts, cut{n, lost})
	}
	return cuts
}

// nixVerifiesAfterCuts lets Nix verify the stores after some of the cuts.
func nixVerifiesAfterCuts(t *testing.T, r *powercut.Recording) {
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	for i, c := range drawCuts(r, 4) {
		if i == 50 {
			break
		}
		root := fmt.Sprint("/tmp/cut-", i)
		if err := r.Restore(d.HostPath(root), c.after, c.lost...); err != nil {
			t.Fatal(err)
		}
		_, stderr, err := tryLocal(t, d, "nix-store", "--store", root, "--verify", "--check-contents")
		if err != nil || strings.Contains(stderr, "disappeared") || strings.Contains(stderr, "modified") {
			t.Errorf("after %s, without\n%s\n: %v, %s", r.Describe(c.after-1), r.Describe(c.lost...), err, stderr)
		}
	}
}

// checkAfterCut opens the store after a cut, and returns the errors that it finds.
func checkAfterCut(ctx context.Context, r *powercut.Recording, c cut) error {
	return openAfterCut(ctx, r, c, func(s *Store) error {
		var lines []string
		remain, err := s.VerifyStore(activity.WithHandler(ctx, collectLines(&lines)), true, false)
		lost := slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "disappeared") })
		if err != nil || remain || lost {
			return fmt.Errorf("the store is damaged: %q, %v", lines, err)
		}
		return nil
	})
}

// checkOpensAfterCut opens the store after a cut, and verifies it.
func checkOpensAfterCut(ctx context.Context, r *powercut.Recording, c cut) error {
	return openAfterCut(ctx, r, c, func(s *Store) error {
		_, err := s.VerifyStore(ctx, true, false)
		return err
	})
}

// openAfterCut opens the store after a cut, checks it, and adds objects.
func openAfterCut(ctx context.Context, r *powercut.Recording, c cut, check func(s *Store) error) error {
	dir, remove, err := powercut.TempDir()
	if err != nil {
		return err
	}
	defer remove()
	root := filepath.Join(dir, "store")
	if err := r.Restore(root, c.after, c.lost...); err != nil {
		return err
	}
	s, err := Open(ctx, &Options{Root: root})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := check(s); err != nil {
		return err
	}
	if err := checkDatabase(ctx, s); err != nil {
		return err
	}
	_, err = s.AddTextToStore(ctx, "later", "text", nil)
	return err
}

// workUntilCut creates a store, adds objects in every way, optimises, replaces, and collects.
func workUntilCut(t *testing.T, root string, synced bool) {
	for _, auto := range []bool{false, true} {
		opts := &Options{Root: root, SyncObjects: synced, AutoOptimise: auto, ReservedSpace: 1 << 16}
		s, err := Open(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		steps := []func(ctx context.Context, s *Store, name string) ([]storepath.Path, error){
			crashText, crashTree, crashLarge, crashReplace, crashReplace, crashMany, crashTidy, crashImport,
		}
		for i, step := range steps {
			paths, err := step(t.Context(), s, fmt.Sprint(auto, "-", i))
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 1 {
				continue // no root keeps these
			}
			for n, p := range paths {
				if _, err := s.AddPermRoot(t.Context(), p, filepath.Join(root, fmt.Sprint("root-", auto, i, n))); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
