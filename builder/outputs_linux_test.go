package builder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/localstore"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An output is canonical, and refers to the paths whose hash parts occur in it.
func TestInputAddressed(t *testing.T) {
	s := newStore(t)
	input, err := s.AddTextToStore(t.Context(), "input", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, s, newDerivation(t, "ia", nil, inputAddressed("out", "dev")))
	f.closure[input] = true
	out, dev := f.output("out").path, f.output("dev").path
	writeFile(t, f.file("out", "bin/run"), "#!"+string(input), 0o4711)
	writeFile(t, f.file("out", "open"), "dev "+dev.HashPart(), 0o666)
	writeFile(t, f.file("out", "closed"), "", 0)
	f.write("dev", "self "+string(dev))
	if err := errors.Join(os.Symlink(string(out), f.file("out", "link")), os.Link(f.file("dev"), f.file("out", "hard")), os.Chmod(f.file("out", "bin"), 0o777)); err != nil {
		t.Fatal(err)
	}
	outputs := f.finish()
	if outputs["out"].OutPath != out || outputs["dev"].OutPath != dev {
		t.Errorf("the outputs are %v", outputs)
	}
	if info := f.info(out); !slices.Equal(info.References, sorted(input, out, dev)) || info.Deriver != f.req.Path || !info.Ultimate || !info.CA.IsZero() {
		t.Errorf("%+v", info)
	}
	if info := f.info(dev); !slices.Equal(info.References, []storepath.Path{dev}) {
		t.Errorf("%+v", info)
	}
	for name, want := range map[string]uint32{"": 0o40555, "bin": 0o40555, "bin/run": 0o100555, "open": 0o100444, "closed": 0o100444, "link": 0o120777, "hard": 0o100444} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(s.ObjectFile(out), name), &st); err != nil || st.Mode != want || st.Mtim.Nano() != int64(time.Second) {
			t.Errorf("%s has mode %o and time %v, %v; want %o", name, st.Mode, st.Mtim, err, want)
		}
	}
}

// A builder that wrote to other paths than the final ones gets its hash parts replaced, across outputs.
func TestRewrite(t *testing.T) {
	s := newStore(t)
	f := newFixture(t, s, newDerivation(t, "rewrite", nil, inputAddressed("out", "dev", "lib")))
	out, dev, lib := f.output("out"), f.output("dev"), f.output("lib")
	dev.scratch = scratchFor(t, f.req.Path, "x", dev.path.Name())
	out.scratch = scratchFor(t, f.req.Path, "y", out.path.Name())
	lib.scratch, lib.valid = scratchFor(t, f.req.Path, "z", lib.path.Name()), true
	f.write("out", fmt.Sprintf("%s %s %s %s", out.scratch, dev.scratch, lib.scratch, out.path))
	writeFile(t, f.file("dev", ".file"), string(dev.scratch)+strings.Repeat("x", 1<<20)+string(dev.scratch), 0o755)
	writeFile(t, f.file("dev", dev.scratch.HashPart()+"-name"), "", 0o644)
	if err := os.Symlink(string(lib.scratch), f.file("dev", "~link")); err != nil {
		t.Fatal(err)
	}
	addValid(t, s, lib.path, "the library")
	outputs := f.finish()
	if got, want := f.contents(out.path), fmt.Sprintf("%s %s %s %s", out.path, dev.path, lib.path, out.path); got != want {
		t.Errorf("out is %q, want %q", got, want)
	}
	if got, want := f.contents(dev.path, ".file"), string(dev.path)+strings.Repeat("x", 1<<20)+string(dev.path); got != want {
		t.Error("dev has the wrong contents")
	}
	if got := f.contents(dev.path, dev.path.HashPart()+"-name"); got != "" {
		t.Error(got)
	}
	if target, err := os.Readlink(filepath.Join(s.ObjectFile(dev.path), "~link")); target != string(lib.path) || err != nil {
		t.Error(target, err)
	}
	if info := f.info(out.path); !slices.Equal(info.References, sorted(out.path, dev.path, lib.path)) {
		t.Errorf("%v", info.References)
	}
	if info := f.info(dev.path); !slices.Equal(info.References, sorted(dev.path, lib.path)) {
		t.Errorf("%v", info.References)
	}
	if len(outputs) != 3 || outputs["lib"].OutPath != lib.path || f.contents(lib.path) != "the library" {
		t.Errorf("%v", outputs)
	}
}

// addValid makes a path valid that has a text as its contents.
func addValid(t *testing.T, s *localstore.Store, path storepath.Path, text string, refs ...storepath.Path) {
	t.Helper()
	if err := os.WriteFile(s.ObjectFile(path), []byte(text), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(s.ObjectFile(path), 0o444), os.Chtimes(s.ObjectFile(path), time.Unix(1, 0), time.Unix(1, 0))); err != nil {
		t.Fatal(err)
	}
	hash, size, err := nar.HashPath(t.Context(), s.ObjectFile(path), nixhash.SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RegisterOutputs(t.Context(), []*store.PathInfo{{Path: path, NARHash: hash, NARSize: size, References: refs}}); err != nil {
		t.Fatal(err)
	}
}

// Rejected outputs have the statuses and texts of Nix 2.34, and do not become valid.
func TestRejected(t *testing.T) {
	s := newStore(t)
	single := func(t *testing.T, name string) *fixture {
		return newFixture(t, s, newDerivation(t, name, nil, inputAddressed("out")))
	}
	t.Run("missing", func(t *testing.T) {
		f := newFixture(t, s, newDerivation(t, "missing", nil, inputAddressed("out", "dev")))
		f.write("out", "")
		f.fail(store.OutputRejected, fmt.Sprintf("builder for '%s' failed to produce output path for output 'dev' at \"ROOT%s\"", f.req.Path, f.output("dev").path))
	})
	t.Run("perm", func(t *testing.T) {
		f := single(t, "perm")
		writeFile(t, f.file("out"), "", 0o666)
		f.fail(store.OutputRejected, fmt.Sprintf("suspicious ownership or permission on \"ROOT%s\" for output 'out'; rejecting this build output", f.output("out").path))
	})
	t.Run("cycle", func(t *testing.T) {
		f := newFixture(t, s, newDerivation(t, "cycle", nil, inputAddressed("out", "dev")))
		f.write("out", string(f.output("dev").path))
		f.write("dev", string(f.output("out").path))
		f.fail(store.OutputRejected, fmt.Sprintf("cycle detected in build of '%s' in the references of output 'dev' from output 'out'", f.req.Path))
	})
	t.Run("fifo", func(t *testing.T) {
		f := single(t, "fifo")
		writeFile(t, f.file("out", "x"), "", 0o644)
		if err := unix.Mkfifo(f.file("out", "f"), 0o644); err != nil {
			t.Fatal(err)
		}
		f.fail(store.OutputRejected, fmt.Sprintf("file \"ROOT%s/f\" has an unsupported type", f.output("out").path))
	})
	t.Run("socket", func(t *testing.T) {
		f := single(t, "socket")
		if err := unix.Mknod(f.file("out"), unix.S_IFSOCK|0o644, 0); err != nil {
			t.Fatal(err)
		}
		f.fail(store.OutputRejected, fmt.Sprintf("file \"ROOT%s\" has an unsupported type", f.output("out").path))
	})
	t.Run("device", func(t *testing.T) {
		f := single(t, "device")
		writeFile(t, f.file("out", "x"), "", 0o644)
		if err := unix.Mknod(f.file("out", "null"), unix.S_IFCHR|0o666, 1<<8|3); err != nil {
			t.Skip(err)
		}
		f.fail(store.OutputRejected, fmt.Sprintf("file \"ROOT%s/null\" has an unsupported type", f.output("out").path))
	})
	t.Run("deep", func(t *testing.T) {
		for depth := 63; depth <= 64; depth++ {
			f := single(t, fmt.Sprintf("deep%d", depth))
			name := strings.Repeat("d/", depth-1)
			writeFile(t, f.file("out", name+"f"), "", 0o644)
			if depth == 63 {
				f.finish()
				continue
			}
			f.fail(store.OutputRejected, fmt.Sprintf("file \"ROOT%s/%sf\" is nested too deeply: an object has at most 64 levels", f.output("out").path, name))
		}
	})
	t.Run("names", func(t *testing.T) {
		f := single(t, "names")
		writeFile(t, f.file("out", strings.Repeat("n", 255)), "", 0o644)
		writeFile(t, f.file("out", "\xff\n\\"), "", 0o644)
		f.finish()
	})
	t.Run("symlink", func(t *testing.T) { // what it leads to stays as it is
		f := single(t, "symlink")
		canary := filepath.Join(t.TempDir(), "canary")
		writeFile(t, canary, "x", 0o640)
		if err := os.Symlink(canary, f.file("out")); err != nil {
			t.Fatal(err)
		}
		f.finish()
		if info, err := os.Stat(canary); err != nil || info.Mode() != 0o640 {
			t.Error(info.Mode(), err)
		}
	})
	t.Run("storedir", func(t *testing.T) { // a builder with a range of users can replace it
		f := single(t, "storedir")
		outside := t.TempDir()
		writeFile(t, filepath.Join(outside, "store", f.output("out").path.Base()), "x", 0o640)
		if err := errors.Join(os.Rename(filepath.Join(f.root, "nix"), filepath.Join(f.root, "old")), os.Symlink(outside, filepath.Join(f.root, "nix"))); err != nil {
			t.Fatal(err)
		}
		if _, err := f.finishOutputs(t.Context()); err == nil {
			t.Error("a file outside the root was taken")
		}
		f.checkStore()
	})
}

// Files that do not belong to the user of the build are not taken, except names of a file that does.
func TestOwnership(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to other users")
	}
	const user = 872415232
	s := newStore(t)
	prepare := func(t *testing.T, name string) *fixture {
		f := newFixture(t, s, newDerivation(t, name, nil, inputAddressed("out", "dev")))
		f.owner = ids{uid: user, gid: user, count: 1}
		writeFile(t, f.file("out", "dir/file"), "", 0o755)
		f.write("dev", "")
		if err := errors.Join(os.Symlink("x", f.file("out", "link")), os.Link(f.file("out", "dir/file"), f.file("out", "hard")), os.Link(f.file("dev"), f.file("out", "dev"))); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{f.file("out"), f.file("out", "dir"), f.file("out", "dir/file"), f.file("out", "link"), f.file("dev")} {
			if err := os.Lchown(file, user, user); err != nil {
				t.Fatal(err)
			}
		}
		return f
	}
	t.Run("right", func(t *testing.T) {
		f := prepare(t, "right")
		f.finish()
		for _, name := range []string{"", "dir", "dir/file", "link", "hard", "dev"} {
			if info, err := os.Lstat(filepath.Join(s.ObjectFile(f.output("out").path), name)); err != nil || !belongsTo(info, 0) {
				t.Errorf("%s belongs to another user, %v", name, err)
			}
		}
	})
	t.Run("foreign", func(t *testing.T) { // such as a link to /etc/shadow
		f := prepare(t, "foreign")
		secret := filepath.Join(filepath.Dir(f.root), "secret")
		writeFile(t, secret, "secret", 0o600)
		if err := os.Link(secret, f.file("out", "dir/secret")); err != nil {
			t.Fatal(err)
		}
		f.fail(store.OutputRejected, fmt.Sprintf("invalid ownership on file \"ROOT%s/dir/secret\"", f.output("out").path))
		if info, err := os.Stat(secret); err != nil || info.Mode() != 0o600 {
			t.Error(info.Mode(), err)
		}
	})
	t.Run("directory", func(t *testing.T) {
		f := prepare(t, "directory")
		if err := os.Lchown(f.file("out", "dir"), 0, 0); err != nil {
			t.Fatal(err)
		}
		f.fail(store.OutputRejected, fmt.Sprintf("invalid ownership on file \"ROOT%s/dir\"", f.output("out").path))
	})
	t.Run("root", func(t *testing.T) {
		f := prepare(t, "root")
		if err := os.Lchown(f.file("dev"), 0, 0); err != nil {
			t.Fatal(err)
		}
		f.fail(store.OutputRejected, fmt.Sprintf("suspicious ownership or permission on \"ROOT%s\" for output 'dev'; rejecting this build output", f.output("dev").path))
	})
}

// Extended attributes are removed, except those that the options name.
func TestAttributes(t *testing.T) {
	s := newStore(t)
	f := newFixture(t, s, newDerivation(t, "attributes", nil, inputAddressed("out")))
	f.opts = &Options{IgnoredACLs: []string{"user.kept"}}
	writeFile(t, f.file("out", "file"), "", 0o644)
	for _, name := range []string{"user.kept", "user.removed", "user." + strings.Repeat("n", 240)} {
		if err := unix.Lsetxattr(f.file("out", "file"), name, []byte("x"), 0); err != nil {
			t.Skip(err)
		}
	}
	if err := os.Chmod(f.file("out", "file"), 0o444); err != nil {
		t.Fatal(err)
	}
	dir, err := f.openStoreDir()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	file := f.file("out", "file")
	m := &made{output: f.output("out"), file: f.file("out")}
	fin := f.newFinisher()
	if err := fin.take(t.Context(), dir, m); err != nil {
		t.Fatal(err)
	}
	list := make([]byte, 4096)
	n, err := unix.Llistxattr(file, list)
	if got := strings.TrimSuffix(string(list[:max(n, 0)]), "\x00"); got != "user.kept" || err != nil {
		t.Errorf("left: %q, %v", got, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o444 {
		t.Error(info.Mode(), err)
	}
}
