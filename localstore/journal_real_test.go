package localstore

import (
	"fmt"
	"os"
	"testing"

	"pix/internal/realnix"
	"pix/storepath"
)

// Nix and pix open each other's stores, with and without a write-ahead log, and with each setting after the other.
func TestJournalsWithNix(t *testing.T) {
	realnix.Each(t, func(t *testing.T, suite realnix.Suite) {
		d := realnix.Start(t, suite, nil)
		nix := func(noWAL bool, args ...string) {
			t.Helper()
			runLocal(t, d, append([]string{args[0], "--option", "use-sqlite-wal", fmt.Sprint(!noWAL)}, args[1:]...)...)
		}
		var paths []storepath.Path
		add := func(noWAL bool, name string) *Store {
			t.Helper()
			s, err := Open(t.Context(), &Options{Root: d.HostPath("/"), NoWAL: noWAL})
			if err != nil {
				t.Fatal(err)
			}
			path, err := s.AddTextToStore(t.Context(), name, name, nil)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
			for _, p := range paths {
				if valid, err := s.IsValidPath(t.Context(), p); err != nil || !valid {
					t.Errorf("%s is not valid: %v", p, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return s
		}
		for i, noWAL := range []bool{false, true, true, false, false, true} {
			if err := os.WriteFile(d.HostPath("/tmp/file"), []byte{byte(i)}, 0o644); err != nil {
				t.Fatal(err)
			}
			s := add(noWAL, fmt.Sprint("ours", i))
			want := map[bool]string{true: "rollback", false: "wal"}[noWAL]
			if got := journalOf(t, s); got != want {
				t.Errorf("%d: pix leaves the journal %s, want %s", i, got, want)
			}
			nix(noWAL, "nix-store", "--add", "/tmp/file")
			nix(noWAL, "nix-store", "--verify", "--check-contents")
			nix(noWAL, "nix-store", "--query", "--hash", string(paths[i]))
			if got := journalOf(t, s); got != want {
				t.Errorf("%d: Nix leaves the journal %s, want %s", i, got, want)
			}
		}
	})
}

// Nix and pix add at the same time without a write-ahead log, and no path is lost.
func TestAddBesideNixWithoutWAL(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "trixie"), &realnix.Options{Config: map[string]string{"use-sqlite-wal": "false"}})
	s := openReal(t, d, Options{NoWAL: true})
	const each = 20
	done := make(chan error, 1)
	go func() {
		script := fmt.Sprintf("for i in $(seq %d); do echo $i > /tmp/$i && nix-store --add /tmp/$i || exit 1; done", each)
		_, stderr, err := tryLocal(t, d, "sh", "-c", script)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, stderr)
		}
		done <- err
	}()
	for i := range each {
		if _, err := s.AddTextToStore(t.Context(), fmt.Sprint("ours", i), fmt.Sprint(i), nil); err != nil {
			t.Error(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	all, err := s.QueryAllValidPaths(t.Context())
	if err != nil || len(all) != 2*each {
		t.Errorf("%d paths are valid, %v, want %d", len(all), err, 2*each)
	}
	checkSound(t, s)
	realVerify(t, d)
}

// After pix has used a store of Nix, the files that an unprivileged user needs to read it still exist.
func TestFilesStayBesideNix(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "trixie"), nil)
	addFile(t, d, "x", "x")
	for _, opts := range []Options{{ReadOnly: true}, {}} {
		opts.Root = d.HostPath("/")
		s, err := Open(t.Context(), &opts)
		if err != nil {
			t.Fatal(err)
		}
		if !opts.ReadOnly {
			addTexts(t, s, 1, false)
		}
		if _, err := s.QueryAllValidPaths(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{"-wal", "-shm"} {
			info, err := os.Stat(s.databaseFile() + suffix)
			if err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("%+v: %s: %v, %v", opts, suffix, info, err)
			}
		}
	}
}
