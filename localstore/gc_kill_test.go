package localstore

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/realnix"
	"pix/store"
	"pix/storepath"
)

// childDir is the environment variable with the store directory of a process that TestKilledCollector has started.
const childDir = "PIX_TEST_COLLECT_IN"

// TestCollectorChild is not a test. It is the child process.
func TestCollectorChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("only for TestKilledCollector")
	}
	s, err := Open(context.Background(), &Options{Root: dir, AutoOptimise: true})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("open")
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if log, ok := e.(activity.Log); ok && strings.HasPrefix(log.Text, "deleting '") {
			os.Stdout.WriteString("d")
		}
	}))
	for n := 0; ; n++ {
		if _, err := s.CollectGarbage(ctx, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}); err != nil {
			t.Fatal(err)
		}
		session, err := s.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.(*Store).AddTextToStore(t.Context(), "child", fmt.Sprint(os.Getpid(), n), nil); err != nil {
			t.Fatal(err)
		}
		if err := session.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A collector that is killed at any moment leaves a consistent store, which contains every path with a root, and in
// which another process can collect immediately.
func TestKilledCollector(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root, AutoOptimise: true, NoSync: true})
	var kept []storepath.Path
	for kill := range tenth(300) {
		kept = append(kept, addChains(t, s, kill)...)
		runAndKill(t, root)
		if remain, lines := verify(t, s, true, false); remain || strings.Contains(strings.Join(lines, "\n"), "disappeared") {
			t.Fatalf("after kill %d: %q", kill, lines)
		}
		valid, err := s.QueryValidPaths(t.Context(), kept, false)
		if err != nil || len(valid) != len(kept) {
			t.Fatalf("after kill %d: %d of %d paths, %v", kill, len(valid), len(kept), err)
		}
	}
	result, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(result.Paths); n >= 90*tenth(300) {
		t.Errorf("the last collection found %d paths, so the others deleted nothing", n)
	}
	entries, err := os.ReadDir(s.storeDir)
	if err != nil || len(entries) != len(kept)+1 {
		t.Errorf("%d entries are left, %v; want %d and .links", len(entries), err, len(kept))
	}
}

// addChains adds texts that each refer to the one before, and makes one of them a root. It returns the paths that
// the root keeps.
func addChains(t *testing.T, s *Store, round int) (kept []storepath.Path) {
	t.Helper()
	opened, err := s.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	session := opened.(*Store)
	for chain := range 10 {
		var refs, all []storepath.Path
		for i := range 10 {
			p, err := session.AddTextToStore(t.Context(), "text", fmt.Sprint(round, chain, i), refs)
			if err != nil {
				t.Fatal(err)
			}
			refs = []storepath.Path{p}
			all = append(all, p)
		}
		if chain == 0 {
			kept = all[:5]
			rootTo(t, s.layout, fmt.Sprint("round", round), kept[4])
		}
	}
	return kept
}

// runAndKill starts a process that collects, and kills it after a moment.
func runAndKill(t *testing.T, root string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCollectorChild$")
	cmd.Env = append(os.Environ(), childDir+"="+root)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It is killed while it searches for roots, or while it deletes.
	waitFor := "open\n"
	if rand.IntN(3) > 0 {
		waitFor += strings.Repeat("d", 1+rand.IntN(90))
	}
	said := make([]byte, len(waitFor))
	if n, err := io.ReadFull(stdout, said); err != nil || string(said[:n]) != waitFor {
		t.Errorf("the child printed %q, %v", said[:n], err)
	}
	time.Sleep(time.Duration(rand.IntN(5_000)) * time.Microsecond)
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the child was not killed: %v", err)
	}
}

// After a collector was killed, Nix finds no errors, and deletes the remaining garbage.
func TestKilledCollectorReal(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		s := open(t, Options{Root: d.HostPath("/")})
		var kept []storepath.Path
		for kill := range 3 {
			kept = append(kept, addChains(t, s, kill)...)
			runAndKill(t, d.HostPath("/"))
			if _, stderr, err := tryLocal(t, d, "nix-store", "--verify", "--check-contents"); err != nil || strings.Contains(stderr, "disappeared") {
				t.Fatalf("nix-store --verify: %v\n%s", err, stderr)
			}
		}
		runLocal(t, d, "nix-store", "--gc")
		entries, err := os.ReadDir(l.storeDir)
		if err != nil || len(entries) != len(kept)+1 {
			t.Errorf("%d entries are left, %v; want %d and .links", len(entries), err, len(kept))
		}
	})
}
