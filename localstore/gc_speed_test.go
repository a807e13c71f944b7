package localstore

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"pix/internal/realnix"
	"pix/store"
)

// fillStore creates n dead objects: files of 1000 bytes, or directories with ten of these. In each group of ten, an
// object refers to two earlier ones.
func fillStore(t testing.TB, s *Store, n int, dirs bool) {
	t.Helper()
	text := make([]byte, 1000)
	for i := range n {
		name := s.object(somePath(t, i))
		files := []string{name}
		if dirs {
			if err := os.Mkdir(name, 0o755); err != nil {
				t.Fatal(err)
			}
			files = nil
			for j := range 10 {
				files = append(files, fmt.Sprint(name, "/file", j))
			}
		}
		for _, file := range files {
			if err := os.WriteFile(file, text, 0o444); err != nil {
				t.Fatal(err)
			}
		}
		if dirs {
			if err := os.Chmod(name, 0o555); err != nil {
				t.Fatal(err)
			}
		}
	}
	err := s.write(t.Context(), func(c *conn) error {
		var first int64
		for i := range n {
			if err := c.exec("insert into ValidPaths (path, hash, registrationTime, narSize) values (?, ?, 1, 1112)", string(somePath(t, i)), noHash.WithBase16()); err != nil {
				return err
			}
			id := c.lastID()
			if i == 0 {
				first = id
			}
			for back := 1; back <= min(2, i%10); back++ {
				if err := c.exec("insert into Refs (referrer, reference) values (?, ?)", id, first+int64(i-back)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// long reports whether to run the full test. Otherwise a tenth of the objects is used.
func long() bool { return os.Getenv("PIX_LONG") == "1" }

func tenth(n int) int {
	if long() {
		return n
	}
	return n / 10
}

// TestCollectSpeed compares how fast pix and Nix find and delete garbage.
func TestCollectSpeed(t *testing.T) {
	for _, test := range []struct {
		name   string
		n      int
		dirs   bool
		action store.GCAction
		args   []string
		faster float64 // than Nix
	}{
		{"dry run", 100_000, false, store.GCReturnDead, []string{"--print-dead"}, 10},
		{"files", 20_000, false, store.GCDeleteDead, nil, 2},
		{"directories", 5_000, true, store.GCDeleteDead, nil, 1}, // mostly work of the kernel
	} {
		t.Run(test.name, func(t *testing.T) {
			n := test.n
			if !long() {
				n /= 20
			}
			ours, theirs := realnix.Start(t, realnix.Get(t, "sid"), nil), realnix.Start(t, realnix.Get(t, "sid"), nil)
			s := open(t, Options{Root: ours.HostPath("/")})
			fillStore(t, s, n, test.dirs)
			fillStore(t, open(t, Options{Root: theirs.HostPath("/")}), n, test.dirs)

			begin := time.Now()
			result, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: test.action, MaxFreed: math.MaxUint64})
			our := time.Since(begin)
			if err != nil || len(result.Paths) != n {
				t.Fatalf("%d paths, %v", len(result.Paths), err)
			}
			begin = time.Now()
			cmd := local(t.Context(), theirs, append([]string{"nix-store", "--gc"}, test.args...)...)
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			their := time.Since(begin)
			ratio := float64(their) / float64(our)
			t.Logf("%d objects: %v, Nix %v, %.1f times as fast", n, our.Round(time.Millisecond), their.Round(time.Millisecond), ratio)
			if long() && ratio < test.faster {
				t.Errorf("%.1f times as fast as Nix, want %.0f", ratio, test.faster)
			}
		})
	}
}
