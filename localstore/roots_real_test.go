package localstore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pix/internal/realnix"
	"pix/localstore/internal/objects"
	"pix/store"
	"pix/storepath"
)

// sharedSuites are the Nixes that use one store directory with us in tests.
var sharedSuites = []string{"bookworm", "trixie", "sid"}

func eachShared(t *testing.T, f func(t *testing.T, d *realnix.Daemon, l layout)) {
	beside(t, sharedSuites, f)
}

// eachNix runs a test beside all Nixes, also 2.3, which has another protocol of temporary roots.
func eachNix(t *testing.T, f func(t *testing.T, d *realnix.Daemon, l layout)) {
	beside(t, append([]string{"bullseye"}, sharedSuites...), f)
}

func beside(t *testing.T, suites []string, f func(t *testing.T, d *realnix.Daemon, l layout)) {
	for _, name := range suites {
		t.Run(name, func(t *testing.T) {
			d := realnix.Start(t, realnix.Get(t, name), nil)
			f(t, d, rootLayout(t, d.HostPath("/")))
		})
	}
}

// local returns a command that works on the store itself, without the daemon.
func local(ctx context.Context, d *realnix.Daemon, args ...string) *exec.Cmd {
	cmd := d.Command(ctx, args...)
	cmd.Env = append(cmd.Env, "NIX_REMOTE=local")
	return cmd
}

// runLocal runs such a command, which has to end in time, and returns its output.
func runLocal(t testing.TB, d *realnix.Daemon, args ...string) string {
	t.Helper()
	stdout, stderr, err := tryLocal(t, d, args...)
	if err != nil {
		t.Fatalf("Nix %s: %s: %v\n%s", d.Version, strings.Join(args, " "), err, stderr)
	}
	return stdout
}

func tryLocal(t testing.TB, d *realnix.Daemon, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var out, errs strings.Builder
	cmd := local(ctx, d, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// addFile adds a file with Nix, and returns its path.
func addFile(t testing.TB, d *realnix.Daemon, name, text string) storepath.Path {
	t.Helper()
	if err := os.WriteFile(d.HostPath("/tmp/"+name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := storepath.Parse(strings.TrimSpace(runLocal(t, d, "nix-store", "--add", "/tmp/"+name)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func exists(t testing.TB, l layout, p storepath.Path) bool {
	t.Helper()
	_, err := os.Lstat(l.object(p))
	if err := objects.IgnoreNotExist(err); err != nil {
		t.Fatal(err)
	}
	return err == nil
}

// Nix finds the roots that we make, and they end when their links do.
func TestAddRootsReal(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		p, q := addFile(t, d, "p", "p"), addFile(t, d, "q", "q")
		// What we call a link has to mean the same inside.
		dir := d.HostPath("/tmp/roots")
		link, err := addPermRoot(l, p, dir+"/deep/../p")
		if err != nil || link != dir+"/p" {
			t.Fatalf("link %q, %v", link, err)
		}
		if target, err := os.Readlink(link); target != string(p) || err != nil {
			t.Errorf("%s leads to %q, %v", link, target, err)
		}
		if _, err := addPermRoot(l, q, dir+"/p"); err != nil {
			t.Errorf("over another root: %v", err)
		}
		for _, bad := range []string{"relative", string(p) + "/link", d.HostPath("/tmp/p"), d.HostPath("/tmp")} {
			if _, err := addPermRoot(l, p, bad); err == nil {
				t.Errorf("a root at %q: no error", bad)
			}
		}
		if err := os.Symlink("/etc", dir+"/etc"); err != nil {
			t.Fatal(err)
		}
		if _, err := addPermRoot(l, p, dir+"/etc"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("over another symlink: %v", err)
		}
		if err := addIndirectRoot(l, "/tmp/roots/p"); err != nil {
			t.Fatal(err)
		}
		// The link of one name is the same with both, so that one replaces the other.
		before, err := os.ReadDir(l.autoRoots())
		if err != nil {
			t.Fatal(err)
		}
		runLocal(t, d, "nix-store", "--realise", string(q), "--add-root", "/tmp/roots/p", "--indirect")
		if after, err := os.ReadDir(l.autoRoots()); err != nil || len(after) != len(before) {
			t.Errorf("%d links, then %d, %v", len(before), len(after), err)
		}
		want := "/tmp/roots/p -> " + string(q)
		if got := insideRoots(runLocal(t, d, "nix-store", "--gc", "--print-roots")); !slices.Equal(got, []string{want}) {
			t.Errorf("Nix finds %q, want %q", got, want)
		}
		if err := os.Remove(dir + "/p"); err != nil {
			t.Fatal(err)
		}
		if got := insideRoots(runLocal(t, d, "nix-store", "--gc", "--print-roots")); len(got) > 0 {
			t.Errorf("Nix finds %q", got)
		}
	})
}

// Nix honours our temporary roots, and says the same about them.
func TestTempRootsReal(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		kept, dead := addFile(t, d, "kept", "kept"), addFile(t, d, "dead", "dead")
		r := newTempRoots(t, l)
		mustAdd(t, r, kept)
		if out := runLocal(t, d, "nix-store", "--gc", "--print-roots"); !strings.Contains(out, "{temp:") || !strings.Contains(out, string(kept)) {
			t.Errorf("Nix sees roots:\n%s", out)
		}
		runLocal(t, d, "nix-store", "--gc")
		if !exists(t, l, kept) || exists(t, l, dead) {
			t.Errorf("kept: %v, dead: %v", exists(t, l, kept), exists(t, l, dead))
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		runLocal(t, d, "nix-store", "--gc")
		if exists(t, l, kept) {
			t.Error("the root is still there after close")
		}
	})
}

// startHalted starts a collection by Nix that has locked everything, and looked for roots if there is
// a way to make it, but deletes nothing before resume is called. resume returns when it has ended.
func startHalted(t testing.TB, d *realnix.Daemon, l layout) (resume func()) {
	t.Helper()
	fifo := d.HostPath("/tmp/halt")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	cmd := local(ctx, d, "nix-store", "--gc")
	cmd.Env = append(cmd.Env, "_NIX_TEST_GC_SYNC=/tmp/halt", "_NIX_TEST_GC_SYNC_2=/tmp/halt")
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Opening it waits for the reader.
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("nix-store --gc: %v\n%s", err, errs.String())
		}
		if err := os.Remove(fifo); err != nil {
			t.Fatal(err)
		}
	}
}

// A root that comes while Nix collects is told to it.
func TestTempRootsToRealCollector(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		paths := []storepath.Path{addFile(t, d, "a", "a"), addFile(t, d, "b", "b"), addFile(t, d, "c", "c")}
		r := newTempRoots(t, l)
		resume := startHalted(t, d, l)
		mustAdd(t, r, paths[0])
		mustAdd(t, r, paths[1])
		resume()
		if !exists(t, l, paths[0]) || !exists(t, l, paths[1]) || exists(t, l, paths[2]) {
			t.Error("Nix did not collect what it should have")
		}
	})
}

// Nix tells us of its roots while we collect.
func TestRootsServerReal(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		p := addFile(t, d, "a", "a") // makes the store
		c, end := beginCollection(t, l)
		c.Choose(func([]string) []string { return []string{p.HashPart()} })
		q := addFile(t, d, "b", "b")
		done := make(chan struct{})
		go func() {
			defer close(done)
			addFile(t, d, "a", "a")
		}()
		select {
		case <-done:
			t.Error("Nix did not wait for a path that is being deleted")
		case <-time.After(100 * time.Millisecond):
		}
		c.Done(p.HashPart())
		<-done
		c.Choose(func(arrived []string) []string {
			if !slices.Contains(arrived, p.HashPart()) || !slices.Contains(arrived, q.HashPart()) {
				t.Errorf("Nix sent %q", arrived)
			}
			return nil
		})
		end()
	})
}

func TestFindPermRootsReal(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		p, q := addFile(t, d, "p", "p"), addFile(t, d, "q", "q")
		runLocal(t, d, "nix-store", "--realise", string(p), "--add-root", "/tmp/by-nix", "--indirect")
		runLocal(t, d, "nix-store", "--realise", string(q), "--add-root", "/nix/var/nix/gcroots/sub/by-nix")

		// What is a root, and what is none.
		roots := d.HostPath("/nix/var/nix/gcroots")
		for link, target := range map[string]string{
			"inside":       string(p) + "/bin/x",
			"relative":     "../../../../tmp/by-nix",
			"via":          "/tmp/by-nix",
			"twice":        "/nix/var/nix/gcroots/via",
			"dangling":     "/nowhere",
			"auto/gone":    "/tmp/gone",
			"auto/notlink": "/tmp/p",
			"dir":          "/nix/store",
			"links":        "/nix/store/.links",
			"slash":        "/nix/store//" + p.Base(),
			"loop":         "loop",
		} {
			if err := os.Symlink(target, filepath.Join(roots, link)); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{q.Base(), "plain", "sub/" + p.Base()} {
			if err := os.WriteFile(filepath.Join(roots, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(string(q), d.HostPath("/nix/var/nix/profiles/mine")); err != nil {
			t.Fatal(err)
		}
		want := insideRoots(runLocal(t, d, "nix-store", "--gc", "--print-roots"))
		if len(want) != 6 {
			t.Errorf("Nix finds %q", want)
		}
		gone := filepath.Join(roots, "auto/gone")
		if err := os.Symlink("/tmp/gone", gone); err != nil {
			t.Errorf("Nix did not remove a stale link: %v", err)
		}
		got, err := (&rootSearch{layout: l, tidy: true, strict: true}).permanent(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		outside := strings.TrimSuffix(d.HostPath("/"), "/")
		if got := rootLines(got, outside); !slices.Equal(got, want) {
			t.Errorf("roots\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if _, err := os.Lstat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a stale link: %v", err)
		}
		if _, err := os.Lstat(filepath.Join(roots, "dangling")); err != nil {
			t.Error(err)
		}
	})
}

// rootLines is what nix-store --gc --print-roots prints for roots, in a world whose / is outside.
func rootLines(roots []store.Root, outside string) []string {
	var lines []string
	for _, r := range roots {
		lines = append(lines, strings.TrimPrefix(r.Link, outside)+" -> "+string(r.Path))
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// insideRoots returns the lines of nix-store --gc --print-roots that are not about processes. 2.34 quotes the links.
func insideRoots(out string) []string {
	var lines []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "/proc/") && !strings.HasPrefix(line, "{") {
			lines = append(lines, strings.ReplaceAll(strings.TrimSuffix(line, "\n"), `"`, ""))
		}
	}
	slices.Sort(lines)
	return lines
}
