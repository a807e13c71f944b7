package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/derivation"
	"pix/store"
)

func TestKeepFailed(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.opts.KeepFailed, p.opts.BuildDir = true, filepath.Join(t.TempDir(), "kept")
		req := p.script("kept", "echo x > file; echo y > $out; exit 1", nil)
		result, events, err := p.build(req)
		if err != nil || result.Status != store.PermanentFailure {
			t.Fatalf("%+v, %v", result, err)
		}
		var dir string
		for _, e := range events {
			if log, ok := e.(activity.Log); ok {
				if name, ok := strings.CutPrefix(log.Text, `note: keeping build directory "`); ok {
					dir = strings.TrimSuffix(name, `"`)
				}
			}
		}
		if text, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(text) != "x\n" {
			t.Errorf("%q, %v", text, err)
		}
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%v, %v", info, err)
		}
		marks, err := filepath.Glob(filepath.Join(p.opts.BuildDir, "*"+markExt))
		if err != nil || len(marks) > 0 {
			t.Errorf("%q, %v", marks, err)
		}
		if filepath.Base(dir) == tmpDirName { // in a sandbox the output is kept beside the directory
			if text, err := os.ReadFile(filepath.Join(filepath.Dir(dir), keptOutputs, outOf(req).Base())); err != nil || string(text) != "y\n" {
				t.Errorf("%q, %v", text, err)
			}
		}
		if _, err := os.Lstat(p.store.ObjectFile(outOf(req))); !os.IsNotExist(err) {
			t.Errorf("the output is in the store: %v", err)
		}
		p.mustBuild(p.script("next", "echo > $out", nil))
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
		p.opts.MaxKept = 1
		p.mustFail(p.script("second", "exit 1", nil), store.PermanentFailure, "Cannot build 'DRV'.\nReason: builder failed with exit code 1.\nOutput paths:\n  OUT")
		if dirs, err := filepath.Glob(filepath.Join(p.opts.BuildDir, "*")); err != nil || len(dirs) != 1 {
			t.Errorf("%q, %v", dirs, err)
		}
	})
}

// A builder cannot make the process that cleans up leave the build directory, nor stop it.
func TestHostileBuildDir(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		canary := filepath.Join(t.TempDir(), "canary")
		p.write(canary, "")
		p.mustBuild(p.script("hostile", `
			d=.; i=0; while [ $i -lt 80 ]; do d=$d/d; i=$((i+1)); done; mkdir -p $d; echo > $d/f
			ln -s `+filepath.Dir(canary)+` link; ln -s / root; mkfifo fifo; mkdir locked; echo > locked/f; chmod 0 locked d
			mkdir -m 0 none; chmod 0 .; echo > $out`, nil))
		if _, err := os.Stat(canary); err != nil {
			t.Error(err)
		}
	})
}

// The umask of the caller has no effect on builders and their files.
func TestUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	t.Run("users", func(t *testing.T) {
		p := sandboxedPlace(t)
		p.withUsers(1)
		syscall.Umask(0o777)
		defer syscall.Umask(0)
		p.mustBuild(p.script("users", "echo > $out", nil))
	})
	both(t, func(t *testing.T, p *place) {
		masks := []int{0o002, 0o077, 0}
		if os.Geteuid() == 0 { // others cannot even open the store
			masks = append(masks, 0o777)
		}
		for _, mask := range masks {
			syscall.Umask(mask)
			name := fmt.Sprintf("umask%o", mask)
			out := p.mustBuild(p.script(name, "(umask; stat -c %a .attr-*; stat -c %a /etc /etc/passwd $(dirname $out) /tmp; mkdir d; stat -c %a d) > $out", func(d *derivation.Derivation) {
				d.Env.Set("passAsFile", "big")
				d.Env.Set("big", "x")
			}))
			text, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Fields(string(text))
			if got[0] != "0022" || got[1] != "644" || got[len(got)-1] != "755" {
				t.Errorf("umask %o: %q", mask, got)
			}
			if want := "555 644 1775 1777"; len(p.opts.SandboxPaths) > 0 && strings.Join(got[2:6], " ") != want {
				t.Errorf("umask %o: the modes are %q, not %s", mask, got[2:6], want)
			}
		}
	})
}

// A text that a process cannot be given is refused before the build.
func TestNUL(t *testing.T) {
	p := openPlace(t)
	for _, test := range []struct {
		what   string
		change func(d *derivation.Derivation)
	}{
		{"the builder", func(d *derivation.Derivation) { d.Builder = "/bin/sh\x00x" }},
		{"argument 2", func(d *derivation.Derivation) { d.Args[1] = "a\x00b" }},
		{"the environment variable 'x'", func(d *derivation.Derivation) { d.Env.Set("x", "a\x00b") }},
		{`the name of the environment variable "a\x00b"`, func(d *derivation.Derivation) { d.Env.Set("a\x00b", "") }},
	} {
		p.mustFail(p.script("nul", "", test.change), store.InputRejected, "Cannot build 'DRV'.\nReason: "+test.what+" contains a NUL byte.")
	}
	out := p.mustBuild(p.script("file", "cat .attr-* > $out", func(d *derivation.Derivation) { // a file may have one
		d.Env.Set("passAsFile", "x")
		d.Env.Set("x", "a\x00b")
	}))
	if text, err := os.ReadFile(out); err != nil || string(text) != "a\x00b" {
		t.Errorf("%q, %v", text, err)
	}
}

// A file that the derivation passes is made only if there is none of that name.
func TestFilesAreNew(t *testing.T) {
	p := openPlace(t)
	req := p.script("x", "", nil)
	b, err := newBuild(p.store, &p.opts, req)
	if err != nil {
		t.Fatal(err)
	}
	if b.dir, err = b.makeBuildDir(); err != nil {
		t.Fatal(err)
	}
	canary := filepath.Join(t.TempDir(), "canary")
	p.write(canary, "")
	if err := os.Symlink(canary, filepath.Join(b.dir.path, ".attr-x")); err != nil {
		t.Fatal(err)
	}
	if err := b.writeBuilderFile(".attr-x", "y"); err == nil {
		t.Error("the file replaced a symlink")
	}
	if text, err := os.ReadFile(canary); err != nil || len(text) > 0 {
		t.Errorf("%q, %v", text, err)
	}
	if err := b.dir.remove(); err != nil {
		t.Error(err)
	}
	p.checkClean()
}

// Names beside the output that pix might use are the builder's, even symlinks.
func TestNamesBesideOutput(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		canary := filepath.Join(t.TempDir(), "canary")
		p.write(canary, "unchanged")
		out := p.mustBuild(p.script("beside", `for n in $out.tmp $out.tmp-x $out-x $(dirname $out)/tmp $(dirname $out)/tmp-1-1; do ln -s `+canary+` $n; done; echo hello > $out`, nil))
		if text, err := os.ReadFile(out); err != nil || string(text) != "hello\n" {
			t.Errorf("%q, %v", text, err)
		}
		if text, err := os.ReadFile(canary); err != nil || string(text) != "unchanged" {
			t.Errorf("%q, %v", text, err)
		}
		for _, n := range []string{".tmp", ".tmp-x", "-x"} {
			os.Remove(out + n)
		}
	})
}

// A process that is killed leaves a mark that the next one finds. Marks of other users, other stores and live processes are
// not touched.
func TestMarks(t *testing.T) {
	p := openPlace(t)
	base := filepath.Join(p.store.StateDir(), "builds")
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := newBuild(p.store, &p.opts, p.script("x", "", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.assignScratch(); err != nil {
		t.Fatal(err)
	}
	make := func(name, text string, mode os.FileMode) {
		if err := os.MkdirAll(filepath.Join(base, name, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			if err := os.WriteFile(filepath.Join(base, name+markExt), []byte(text), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	own := b.markText()
	make("nix-1-1", own, 0o600)                                         // dead
	make("nix-1-2", "", 0)                                              // without a mark, such as Nix's
	make("nix-1-3", strings.Replace(own, b.storeDir(), "/x", 1), 0o600) // of another store
	make("nix-1-4", own, 0o644)                                         // not made by pix
	make("nix-1-5", own, 0o600)                                         // of a live process
	make("nix-1-6", "incomplete", 0o600)                                // killed before it made the directory
	live, err := os.Open(filepath.Join(base, "nix-1-5"+markExt))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := unix.Flock(int(live.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	p.write(p.store.ObjectFile(outOf(b.req)), "half of an output")
	if _, err := b.removeDead(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"nix-1-1": false, "nix-1-1.lock": false, "nix-1-2": true, "nix-1-3": true, "nix-1-4": true, "nix-1-5": true, "nix-1-6": true, "nix-1-6.lock": false} {
		if _, err := os.Lstat(filepath.Join(base, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Lstat(p.store.ObjectFile(outOf(b.req))); !os.IsNotExist(err) {
		t.Errorf("the output is left: %v", err)
	}
}
