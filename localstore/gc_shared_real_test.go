package localstore

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/internal/realnix"
	"pix/store"
	"pix/storepath"
)

// sharedTime is how long two programs use one store.
func sharedTime() time.Duration {
	if long() {
		return 30 * time.Second
	}
	return 3 * time.Second
}

// rootTo adds a root that has the same meaning inside and outside of the suite.
func rootTo(t testing.TB, l layout, name string, path storepath.Path) {
	if err := os.Symlink(string(path), filepath.Join(l.gcRoots(), name)); err != nil {
		t.Error(err)
	}
}

// An adder adds texts that refer to each other, and keeps some of them.
type adder struct {
	s    *Store
	name string
	kept []storepath.Path
	n    int
}

// round adds two texts in its own session. Both must stay valid until the session is closed. The first is one of a few,
// so it is deleted and added again and again.
func (a *adder) round(t testing.TB) error {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	opened, err := a.s.Session(ctx)
	if err != nil {
		return err
	}
	session := opened.(*Store)
	defer session.Close()
	first, err := session.AddTextToStore(ctx, "first", fmt.Sprint(rand.IntN(5)), nil)
	if err != nil {
		return fmt.Errorf("adding the first: %w", err)
	}
	second, err := session.AddTextToStore(ctx, "second", fmt.Sprint(a.name, a.n), []storepath.Path{first})
	if err != nil {
		return fmt.Errorf("adding the second: %w", err)
	}
	a.n++
	if rand.IntN(4) == 0 {
		rootTo(t, session.layout, fmt.Sprint(a.name, a.n), second)
		a.kept = append(a.kept, first, second)
	}
	return a.check(ctx, first, second)
}

// check returns an error if a path is not valid, or has no object.
func (a *adder) check(ctx context.Context, paths ...storepath.Path) error {
	valid, err := a.s.QueryValidPaths(ctx, paths, false)
	if err != nil {
		return err
	}
	for _, p := range paths {
		if _, err := os.Lstat(a.s.object(p)); err != nil {
			return err
		}
	}
	all := make(map[storepath.Path]bool)
	for _, p := range paths {
		all[p] = true
	}
	if len(valid) != len(all) {
		return fmt.Errorf("only %[2]q of %[1]q are valid", paths, valid)
	}
	return nil
}

// While Nix collects again and again, pix adds objects, and no path with a root is lost.
func TestAddWhileNixCollects(t *testing.T) {
	eachNix(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		runLocal(t, d, "nix-store", "--init")
		deadline := time.Now().Add(sharedTime())
		var all sync.WaitGroup
		adders := make([]*adder, 3)
		for i := range adders {
			adders[i] = &adder{s: open(t, Options{Root: d.HostPath("/")}), name: fmt.Sprintf("adder%d-", i)}
			all.Go(func() {
				for time.Now().Before(deadline) {
					if err := adders[i].round(t); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		collections := 0
		for time.Now().Before(deadline) && !t.Failed() {
			runLocal(t, d, "nix-store", "--gc", "--quiet")
			collections++
		}
		all.Wait()
		runLocal(t, d, "nix-store", "--gc", "--quiet")
		added, kept := 0, 0
		for _, a := range adders {
			added += a.n
			kept += len(a.kept)
			if err := a.check(t.Context(), a.kept...); err != nil {
				t.Error(err)
			}
		}
		t.Logf("%d rounds of adding, %d paths kept, %d collections", added, kept, collections)
		verifyShared(t, d)
	})
}

// While pix collects again and again, Nix and pix add objects.
func TestCollectWhileNixAdds(t *testing.T) {
	eachNix(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		runLocal(t, d, "nix-store", "--init")
		deadline := time.Now().Add(sharedTime())
		var all sync.WaitGroup
		rounds := make([]int, 2)
		for i := range rounds {
			all.Go(func() {
				for time.Now().Before(deadline) {
					// Each derivation refers to the same text.
					expression := fmt.Sprintf(`derivation { name = "x"; system = "x"; builder = "/bin/sh"; n = "%d.%d"; text = builtins.toFile "first" "%d"; }`, i, rounds[i], rand.IntN(3))
					root := fmt.Sprintf("/nix/var/nix/gcroots/nix%d-%d", i, rounds[i])
					_, stderr, err := tryLocal(t, d, "nix-instantiate", "--expr", expression, "--add-root", root)
					if strings.Contains(stderr, "gcroots/auto") {
						continue // the target of its symlink exists only inside the suite, so pix sees a stale root
					}
					if err != nil {
						t.Errorf("nix-instantiate: %v\n%s", err, stderr)
						return
					}
					rounds[i]++
				}
			})
		}
		a := &adder{s: open(t, Options{Root: d.HostPath("/")}), name: "ours"}
		all.Go(func() {
			for time.Now().Before(deadline) {
				if err := a.round(t); err != nil {
					t.Error(err)
					return
				}
			}
		})
		s := open(t, Options{Root: d.HostPath("/")})
		collections, deleted := 0, 0
		for time.Now().Before(deadline) && !t.Failed() {
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			result, err := s.CollectGarbage(ctx, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			collections++
			deleted += len(result.Paths)
		}
		all.Wait()
		if err := a.check(t.Context(), a.kept...); err != nil {
			t.Error(err)
		}
		for i, n := range rounds {
			for j := range n {
				if err := checkNixRoot(t, a, filepath.Join(l.gcRoots(), fmt.Sprintf("nix%d-%d", i, j))); err != nil {
					t.Error(err)
				}
			}
		}
		t.Logf("%v rounds by Nix, %d by us, %d collections deleted %d", rounds, a.n, collections, deleted)
		verifyShared(t, d)
	})
}

// checkNixRoot checks that the path of a root and its references are valid and have objects.
func checkNixRoot(t *testing.T, a *adder, link string) error {
	target, err := os.Readlink(link)
	if err != nil {
		return err
	}
	path, err := storepath.Parse(target)
	if err != nil {
		return err
	}
	info, err := a.s.QueryPathInfo(t.Context(), path)
	if err != nil {
		return err
	}
	return a.check(t.Context(), append(info.References, path)...)
}

// verifyShared lets Nix verify the store, in which no object may be missing.
func verifyShared(t *testing.T, d *realnix.Daemon) {
	t.Helper()
	if _, stderr, err := tryLocal(t, d, "nix-store", "--verify", "--check-contents"); err != nil || strings.Contains(stderr, "disappeared") {
		t.Errorf("nix-store --verify: %v\n%s", err, stderr)
	}
}
