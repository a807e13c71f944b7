package localstore

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/store"
)

// copyStore returns another store with the same contents.
func copyStore(t *testing.T, w *gcWorld) *Store {
	t.Helper()
	root := t.TempDir()
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", root).Run() })
	if out, err := exec.Command("cp", "-a", w.d.HostPath("/nix"), root).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	return open(t, Options{Root: root})
}

// damage damages a store in every way that verification detects.
func (w *gcWorld) damage(t *testing.T) {
	t.Helper()
	s := w.open(t, false, true)
	object := func(name string) string { return w.l.object(w.paths[name]) }
	overwrite := func(file string) {
		t.Helper()
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("damaged"), 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	overwrite(object("two")) // the file in .links is the same file
	for _, name := range []string{"c/sub/file"} {
		file := filepath.Join(w.l.storeDir, strings.Replace(name, "c", w.paths["c"].Base(), 1))
		// A file with one name and other contents.
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("damaged"), 0o555); err != nil {
			t.Fatal(err)
		}
	}
	// c, which has an object, refers to b. No path refers to loose.drv. loose.drv refers to c.drv.
	for _, name := range []string{"b", "loose.drv", "c.drv", "dead"} {
		if err := os.RemoveAll(object(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.l.links(), "foo"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	err := s.write(t.Context(), func(c *conn) error {
		if err := c.exec("update ValidPaths set hash = ? where path = ?", noHash.WithBase16(), string(w.paths["a"])); err != nil {
			return err
		}
		return c.exec("update ValidPaths set narSize = null where path in (?, ?)", string(w.paths["one"]), string(w.paths["two"]))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// normalizeLines returns lines without the parts that differ: quotes, colours, and the location of the store.
func normalizeLines(lines []string, outside string) []string {
	var all []string
	for _, line := range lines {
		line = strings.NewReplacer(`"`, "", "'", "", outside+"/nix", "/nix").Replace(activity.Plain(line))
		if line != "warning: not all store errors were fixed" && line != "" { // printed by the command
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

func verify(t *testing.T, s *Store, checkContents, repair bool) (remain bool, lines []string) {
	t.Helper()
	ctx := activity.WithHandler(t.Context(), collectLines(&lines))
	remain, err := s.VerifyStore(ctx, checkContents, repair)
	if err != nil {
		t.Fatal(err)
	}
	return remain, lines
}

func allInfos(t *testing.T, s *Store) []string {
	t.Helper()
	paths, err := s.QueryAllValidPaths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var infos []string
	for _, p := range paths {
		info, err := s.QueryPathInfo(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, fmt.Sprint(p, info.NARHash, info.NARSize, info.References, info.Deriver))
	}
	return infos
}

// pix detects the same errors as Nix, logs the same lines, and leaves the same state.
func TestVerifyReal(t *testing.T) {
	for _, suite := range sharedSuites {
		t.Run(suite, func(t *testing.T) {
			w := newGCTwin(t, suite)
			whole := copyStore(t, w.ours)
			s, other := w.ours.open(t, false, true), w.theirs.open(t, false, true)
			if remain, lines := verify(t, s, true, false); remain {
				t.Fatalf("errors in a consistent store: %q", lines)
			}
			w.ours.damage(t)
			w.theirs.damage(t)
			for _, contents := range []bool{false, true} {
				flags := []string{"nix-store", "--verify"}
				if contents {
					flags = append(flags, "--check-contents")
				}
				remain, lines := verify(t, s, contents, false)
				_, stderr, err := tryLocal(t, w.theirs.d, flags...)
				if !remain || err == nil {
					t.Errorf("contents %v: errors remain: %v, Nix: %v", contents, remain, err)
				}
				if diff := difference(normalizeLines(lines, strings.TrimSuffix(w.ours.d.HostPath("/"), "/")), normalizeLines(strings.Split(stderr, "\n"), "/nowhere")); diff != "" {
					t.Errorf("contents %v: ours (+) and Nix's (-):\n%s", contents, diff)
				}
				if diff := difference(allInfos(t, s), allInfos(t, other)); diff != "" {
					t.Errorf("contents %v: ours (+) and Nix's (-):\n%s", contents, diff)
				}
			}
			w.compare(t)

			// Without another store only files in .links can be repaired.
			if remain, lines := verify(t, s, true, true); !remain || !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "cannot repair") }) {
				t.Errorf("errors remain: %v, %q", remain, lines)
			}
			opts := s.opts
			opts.RepairFrom = whole
			if remain, lines := verify(t, open(t, opts), true, true); remain {
				t.Errorf("not everything was repaired: %q", lines)
			}
			if remain, lines := verify(t, s, true, false); remain {
				t.Errorf("not everything was repaired: %q", lines)
			}
			w.ours.check(t)
			w.repairOthers(t, other, whole)
		})
	}
}

// repairOthers repairs the store that Nix has verified. If an object differs from its info, a trusted key must have
// signed it.
func (w *gcTwin) repairOthers(t *testing.T, s, whole *Store) {
	t.Helper()
	p := w.theirs.paths["c"]
	err := s.write(t.Context(), func(c *conn) error {
		return c.exec("update ValidPaths set hash = ? where path = ?", strings.Replace(noHash.WithBase16(), "0", "1", 1), string(p))
	})
	if err != nil {
		t.Fatal(err)
	}
	opts := s.opts
	opts.RepairFrom = whole
	remain, lines := verify(t, open(t, opts), true, true)
	if !remain || !slices.ContainsFunc(lines, func(l string) bool {
		return strings.Contains(l, "cannot repair path '"+string(p)+"'") && strings.Contains(l, "signature")
	}) {
		t.Errorf("errors remain: %v, %q", remain, lines)
	}
	opts.NoSignatures = true
	opts.RepairFrom = nil
	if remain, err := store.VerifyFrom(t.Context(), open(t, opts), true, whole); remain || err != nil {
		t.Errorf("errors remain: %v, %v", remain, err)
	}
	w.theirs.check(t)
}
