package builder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"pix/derivation"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// fixed returns a derivation with a fixed output of that hash.
func fixed(t *testing.T, name string, m storepath.Method, hash nixhash.Hash) *derivation.Derivation {
	t.Helper()
	ca, err := storepath.NewContentAddress(m, hash)
	if err != nil {
		t.Fatal(err)
	}
	return newDerivation(t, name, nil, map[string]derivation.Output{"out": derivation.FixedOutput(ca, "")})
}

// makeTree makes a file, or with a method that allows it a directory.
func makeTree(t *testing.T, name string, m storepath.Method) {
	t.Helper()
	if m == storepath.Flat || m == storepath.Text {
		writeFile(t, name, "contents\n", 0o644)
		return
	}
	writeFile(t, filepath.Join(name, "a/run"), "run", 0o755)
	writeFile(t, filepath.Join(name, "a.c"), strings.Repeat("text", 10_000), 0o644)
	if err := errors.Join(os.Symlink("a/run", filepath.Join(name, "link")), os.Mkdir(filepath.Join(name, "empty"), 0o755)); err != nil {
		t.Fatal(err)
	}
}

// Fixed outputs of every method and algorithm have the hashes and paths that Nix gives to the same files. An output with another
// hash is a failure, and becomes valid under the path of its contents; a derivation with that hash then has the path.
func TestFixed(t *testing.T) {
	suite := realnix.Get(t, "sid")
	nix := realnix.Start(t, suite, &realnix.Options{Config: map[string]string{"experimental-features": "nix-command git-hashing blake3-hashes dynamic-derivations ca-derivations"}})
	s := newStore(t)
	for _, method := range []storepath.Method{storepath.Flat, storepath.NAR, storepath.Text, storepath.Git} {
		algorithms := []nixhash.Algorithm{nixhash.MD5, nixhash.SHA1, nixhash.SHA256, nixhash.SHA512, nixhash.BLAKE3}
		switch method {
		case storepath.Text:
			algorithms = []nixhash.Algorithm{nixhash.SHA256}
		case storepath.Git:
			algorithms = []nixhash.Algorithm{nixhash.SHA1, nixhash.SHA256}
		}
		makeTree(t, nix.HostPath("/tmp/"+method.String()), method)
		for _, algo := range algorithms {
			name := fmt.Sprintf("%s-%s", method, algo)
			want := strings.TrimSpace(nix.MustRun(t, "nix", "store", "add", "--mode", method.String(), "--hash-algo", algo.String(), "--name", name, "/tmp/"+method.String()))
			f := newFixture(t, s, fixed(t, name, method, zeroHash(t, algo)))
			makeTree(t, f.file("out"), method)
			_, err := f.finishOutputs(t.Context())
			failure, ok := errors.AsType[*Failure](err)
			prefix := fmt.Sprintf("hash mismatch in fixed-output derivation '%s':\n  specified: %s\n     got:    ", f.req.Path, zeroHash(t, algo).SRI())
			if !ok || failure.Status != store.OutputRejected || !failure.HashMismatch || !strings.HasPrefix(failure.Message, prefix) {
				t.Fatalf("%s: %v", name, err)
			}
			hash, err := nixhash.ParseSRI(strings.TrimPrefix(failure.Message, prefix))
			if err != nil {
				t.Fatal(err)
			}
			f.checkStore()
			info := f.info(storepath.Path(want))
			if info.Deriver != f.req.Path || !info.Ultimate || info.CA.Method() != method || info.CA.Hash() != hash || !info.IsContentAddressed() {
				t.Errorf("%s: %+v", name, info)
			}
			right := newFixture(t, s, fixed(t, name, method, hash))
			if right.output("out").path != storepath.Path(want) {
				t.Errorf("%s: the path is %s, Nix has %s", name, right.output("out").path, want)
			}
			makeTree(t, right.file("out"), method)
			if outputs := right.finish(); outputs["out"].OutPath != storepath.Path(want) {
				t.Errorf("%s: %v", name, outputs)
			}
		}
	}
}

// Nix 2.34 has these texts for contents that the method does not allow, and for references.
func TestFixedRejected(t *testing.T) {
	s := newStore(t)
	zero := zeroHash(t, nixhash.SHA256)
	for name, make := range map[string]func(file string) error{
		"dir":  func(file string) error { return os.Mkdir(file, 0o755) },
		"exec": func(file string) error { return errors.Join(os.WriteFile(file, nil, 0o755), os.Chmod(file, 0o755)) },
		"link": func(file string) error { return os.Symlink("/etc/passwd", file) },
	} {
		f := newFixture(t, s, fixed(t, name, storepath.Flat, zero))
		if err := make(f.file("out")); err != nil {
			t.Fatal(err)
		}
		_, err := f.finishOutputs(t.Context())
		failure, ok := errors.AsType[*Failure](err)
		const prefix, suffix = `output path "`, `/x" should be a non-executable regular file since recursive hashing is not enabled (one of outputHashMode={flat,text} is true)`
		if !ok || failure.Status != store.OutputRejected || !strings.HasPrefix(failure.Message, prefix) || !strings.HasSuffix(failure.Message, suffix) {
			t.Errorf("%s: %v", name, err)
		}
		f.checkStore()
	}
	input, err := s.AddTextToStore(t.Context(), "input", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, s, fixed(t, "hashrefs", storepath.Flat, zero))
	f.closure[input] = true
	f.write("out", string(input))
	// It ends the whole request, as in Nix.
	want := "fixed output derivation 'hashrefs' is not allowed to refer to other store paths.\nYou may need to use the 'unsafeDiscardReferences' derivation attribute, see the manual for more details."
	_, err = f.finishOutputs(t.Context())
	if _, ok := errors.AsType[*Failure](err); ok || err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	f.checkStore()
	// With a hash of the archive, references are allowed in the path, but not in a fixed output.
	f = newFixture(t, s, fixed(t, "narrefs", storepath.NAR, zero))
	f.closure[input] = true
	f.write("out", string(input))
	if _, err := f.finishOutputs(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "hash mismatch") {
		t.Error(err)
	}
	f.checkStore()
}

// A process outside that has got a descriptor of a fixed output writes to a file that is no object, after success and after
// failure.
func TestLeakedDescriptor(t *testing.T) {
	s := newStore(t)
	for _, text := range []string{"good", "evil"} {
		hash := nixhash.Sum(nixhash.SHA256, []byte("good"))
		f := newFixture(t, s, fixed(t, "leak-"+text, storepath.Flat, hash))
		f.write("out", text)
		leaked := leak(t, f.file("out"))
		before := openFiles(t)
		_, err := f.finishOutputs(t.Context())
		if (text == "good") != (err == nil) {
			t.Fatal(err)
		}
		if _, err := leaked.WriteAt([]byte("XXXX"), 0); err != nil {
			t.Fatal(err)
		}
		leaked.Close()
		paths, err := s.QueryAllValidPaths(t.Context())
		if err != nil || !slices.ContainsFunc(paths, func(p storepath.Path) bool { return p.Name() == "leak-"+text }) {
			t.Errorf("%s is not registered: %v", text, err)
		}
		f.checkStore()
		if after := openFiles(t); after > before {
			t.Errorf("%d files are open, %d before", after, before)
		}
	}
}

// Whatever a process outside does to a file of a fixed output meanwhile, what becomes valid is whole.
func TestChangedWhileRead(t *testing.T) {
	s := newStore(t)
	for i := range 20 {
		f := newFixture(t, s, fixed(t, fmt.Sprintf("changing%d", i), storepath.NAR, zeroHash(t, nixhash.SHA256)))
		writeFile(t, f.file("out", "file"), strings.Repeat("x", 1<<20), 0o644)
		leaked := leak(t, f.file("out", "file"))
		var stop atomic.Bool
		var work sync.WaitGroup
		work.Go(func() {
			for n := int64(0); !stop.Load(); n++ {
				leaked.WriteAt([]byte("changed"), n%(1<<20))
				if i%2 == 0 {
					leaked.Truncate(1<<20 + n%3)
				}
			}
		})
		_, err := f.finishOutputs(t.Context())
		stop.Store(true)
		work.Wait()
		leaked.Close()
		if failure, ok := errors.AsType[*Failure](err); !ok || failure.Status != store.OutputRejected {
			t.Errorf("%v", err)
		}
		f.checkStore()
	}
}

// leak passes a descriptor of a file to this process through a socket, as a builder can.
func leak(t *testing.T, file string) *os.File {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Sendmsg(fds[0], []byte("x"), unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(fds[1], make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		t.Fatal(err)
	}
	got, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(got[0]), "leaked")
}

// openFiles returns how many descriptors of files and pipes this process has.
func openFiles(t *testing.T) (n int) {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// Nothing that a builder puts beside its outputs is followed or written to, and its names are no obstacle to
// rewriting.
func TestPlantedNames(t *testing.T) {
	s := newStore(t)
	canary := filepath.Join(t.TempDir(), "canary")
	writeFile(t, canary, "untouched", 0o644)
	for _, kind := range []string{"fixed", "floating", "redirected"} {
		var f *fixture
		switch kind {
		case "fixed":
			f = newFixture(t, s, fixed(t, kind, storepath.NAR, zeroHash(t, nixhash.SHA256)))
		case "floating":
			f = newFixture(t, s, newDerivation(t, kind, nil, map[string]derivation.Output{"out": derivation.FloatingOutput(storepath.NAR, nixhash.SHA256)}))
		case "redirected":
			f = newFixture(t, s, newDerivation(t, kind, nil, inputAddressed("out")))
			f.output("out").scratch = scratchFor(t, f.req.Path, "x", kind)
		}
		f.write("out", string(f.output("out").scratch))
		out := f.file("out")
		for _, name := range []string{out + ".tmp", out + ".tmp-x", out + ".lock", out + ".check", filepath.Join(filepath.Dir(out), "tmp"), filepath.Join(filepath.Dir(out), "x")} {
			if err := os.Symlink(canary, name); err != nil {
				t.Fatal(err)
			}
		}
		before := tree(t, f.root, out)
		_, err := f.finishOutputs(t.Context())
		if kind != "fixed" && err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		f.checkStore()
		if after := tree(t, f.root, out); !slices.Equal(before, after) {
			t.Errorf("%s: the root of the builder has changed:\n%q\n%q", kind, before, after)
		}
		if text, err := os.ReadFile(canary); string(text) != "untouched" {
			t.Errorf("%s: the canary is %q, %v", kind, text, err)
		}
	}
}

// tree lists the files below a directory, except one.
func tree(t *testing.T, root, except string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err == nil && name != except {
			list = append(list, name+" "+d.Type().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A build whose wrong output belongs at a path that another build has locked does not wait for it: each could wait for the
// other for ever.
func TestWrongHashWhileLocked(t *testing.T) {
	s := newStore(t)
	right := fixed(t, "x", storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("text")))
	path, _ := right.Outputs.Get("out")
	locks, err := s.LockObjects(t.Context(), path.Path().Base())
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, s, fixed(t, "x", storepath.Flat, zeroHash(t, nixhash.SHA256)))
	f.write("out", "text")
	if _, err := f.finishOutputs(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "hash mismatch") {
		t.Error(err)
	}
	locks.Release()
	f.checkStore()
}
