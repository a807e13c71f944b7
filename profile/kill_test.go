package profile

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"pix/localstore"
	"pix/store"
)

// killedDir is the environment variable with which this program runs as [setForever].
const killedDir = "PIX_TEST_KILLED"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedDir); dir != "" {
		fmt.Println(setForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// setForever changes a profile until the process is killed. It prints a line after each change.
func setForever(dir string) error {
	ctx, p, s, err := openKilled(dir)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		path, err := store.AddText(ctx, s, fmt.Sprintf("package-%d", i%3), "", nil)
		if err == nil {
			_, err = p.Set(ctx, s, path)
		}
		if err == nil && i%4 == 3 {
			_, err = p.Rollback(ctx)
		}
		if err == nil && i%16 == 15 {
			_, err = p.Delete(ctx, KeepLast(2))
		}
		if err != nil {
			return err
		}
		fmt.Println("changed")
	}
}

// A killed process leaves a profile that points to one of its generations, and that the next process can change.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for range 8 {
		killAfter(t, dir, 1+rand.IntN(20))
		ctx, p, s, err := openKilled(dir)
		if err != nil {
			t.Fatal(err)
		}
		all, err := p.Generations(ctx)
		if err != nil || !slices.ContainsFunc(all, func(g Generation) bool { return g.Current }) {
			t.Fatalf("generations %s: %v", numbers(all), err)
		}
		for _, g := range all {
			if valid, err := s.IsValidPath(ctx, g.Path); !valid || err != nil {
				t.Errorf("generation %d: %v, %v", g.Number, valid, err)
			}
		}
		path, err := store.AddText(ctx, s, "after", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if g, err := p.Set(ctx, s, path); err != nil || !g.Current {
			t.Fatal(g, err)
		}
		s.Close()
	}
	if _, err := os.Lstat(filepath.Join(dir, "profile.lock")); err == nil {
		t.Error("the lock file remains")
	}
}

// killAfter kills a process that changes the profile, some time after it has reported n changes.
func killAfter(t *testing.T, dir string, n int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killedDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 0; i < n && lines.Scan(); i++ {
		if lines.Text() != "changed" {
			t.Error(lines.Text())
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
}

// The next process completes what a killed one has begun: a generation that is no root, and to which the profile does not
// point.
func TestKilledBeforeRoot(t *testing.T) {
	w := newWorld(t)
	w.set("a")
	w.link(string(w.path("b")), "profile-2-link")
	if g := w.set("b"); g.Number != 2 || !g.Current {
		t.Error(g)
	}
	roots, err := w.store.FindRoots(t.Context())
	if err != nil || !slices.ContainsFunc(roots, func(r store.Root) bool { return r.Link == filepath.Join(w.dir, "profile-2-link") }) {
		t.Error(roots, err)
	}
}

// openKilled opens the store and the profile in a directory.
func openKilled(dir string) (context.Context, *Profile, *localstore.Store, error) {
	ctx := context.Background()
	s, err := localstore.Open(ctx, &localstore.Options{Root: filepath.Join(dir, "root")})
	if err != nil {
		return nil, nil, nil, err
	}
	p, err := New(s.Dir(), filepath.Join(dir, "profile"))
	return ctx, p, s, err
}
