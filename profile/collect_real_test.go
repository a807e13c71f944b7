package profile_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/realnix"
	"pix/profile"
	"pix/storepath"
)

// DeleteAll deletes the same generations as nix-collect-garbage, in all directories of profiles.
func TestRealDeleteAll(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		for _, test := range []struct {
			args []string
			sel  profile.Selection
		}{
			{[]string{"-d"}, profile.Old()},
			{[]string{"--delete-older-than", "30d"}, profile.OlderThan(time.Now().Add(-30 * 24 * time.Hour))},
		} {
			w := newNixWorld(t, s)
			shared := w.daemon.HostPath("/nix/var/nix/profiles")
			for _, dir := range []string{"", "per-user/ann", "per-user/ann/deep/er", "per-user/root"} {
				w.makeProfiles(filepath.Join(shared, dir))
			}
			copied := w.daemon.HostPath("/nix/copy")
			if out, err := exec.Command("cp", "-a", shared, copied).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			w.daemon.MustRun(t, append([]string{"nix-collect-garbage"}, test.args...)...)
			found, err := profile.Find(t.Context(), storepath.DefaultDir, copied)
			if err != nil {
				t.Fatal(err)
			}
			err = profile.DeleteAll(t.Context(), found, test.sel, false, func(d profile.Deletion) error { return d.Err })
			if err != nil {
				t.Error(err)
			}
			os.Remove(filepath.Join(shared, "default")) // which Nix has created for root
			if got, want := symlinks(t, copied), symlinks(t, shared); !slices.Equal(got, want) || len(want) < 8 {
				t.Errorf("%q leaves\n%s\nNix %s\n%s", test.args, strings.Join(got, "\n"), w.daemon.Version, strings.Join(want, "\n"))
			}
		}
	})
}

// makeProfiles creates two profiles whose generations are 10, 20, 30 … days old, and symlinks that are no profiles.
func (w *nixWorld) makeProfiles(dir string) {
	w.t.Helper()
	link := func(target, name string, days int) {
		file := filepath.Join(dir, name)
		if err := os.Symlink(target, file); err != nil {
			w.t.Fatal(err)
		}
		ts := unix.NsecToTimespec(time.Now().Add(-time.Duration(days)*24*time.Hour - time.Hour).UnixNano())
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, file, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	link("newest-6-link", "newest", 0)
	link("middle-3-link", "middle", 0)
	for n, days := range []string{"1", "2", "3", "4", "5", "6"} {
		link(string(w.paths[n%2]), "newest-"+days+"-link", 60-10*n)
		link(string(w.paths[n%2]), "middle-"+days+"-link", 60-10*n)
		link(string(w.paths[n%2]), "orphan-"+days+"-link", 60-10*n)
	}
	link(string(w.paths[0]), "direct", 100)
	link("/elsewhere", "dangling", 100)
}

// symlinks returns the symlinks below a directory.
func symlinks(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type() == os.ModeSymlink {
			all = append(all, strings.TrimPrefix(name, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// pix and nix-env change one profile at the same time. Each waits for the lock of the other, and no change is lost.
func TestRealLock(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		w := newNixWorld(t, s)
		p := w.profile("shared")
		if _, err := p.Set(t.Context(), w.store, w.paths[0]); err != nil {
			t.Fatal(err)
		}
		const commands = 5
		ended := make(chan error, 1)
		go func() {
			for range commands {
				if _, err := w.nixEnv("shared", "--switch-generation", "1"); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
		const sets = 60
		for i := range sets - 1 {
			g, err := p.Set(t.Context(), w.store, w.paths[(i+1)%len(w.paths)])
			if err != nil || !g.Current {
				t.Error(g, err)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		all, err := p.Generations(t.Context())
		if err != nil || len(all) != sets {
			t.Errorf("%d generations of %d: %v", len(all), sets, err)
		}
		if _, err := os.Lstat(p.Link() + ".lock"); err == nil {
			t.Error("the lock file remains")
		}
	})
}
