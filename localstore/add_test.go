package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/derivation"
	"pix/localstore/internal/flock"
	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

const absent = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent")

// fileNAR returns the archive of a file.
func fileNAR(contents string) []byte {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))})
	io.WriteString(w, contents)
	w.Close()
	return b.Bytes()
}

// treeNAR returns the archive of a directory with something of each kind in it.
func treeNAR() []byte {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	w.WriteEntry(nar.Entry{Kind: nar.Directory, Depth: 1, Name: "a"})
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 2, Name: "run", Executable: true, Size: 3})
	io.WriteString(w, "run")
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: "a.b", Size: 4})
	io.WriteString(w, "text")
	w.WriteEntry(nar.Entry{Kind: nar.Directory, Depth: 1, Name: "empty"})
	w.WriteEntry(nar.Entry{Kind: nar.Symlink, Depth: 1, Name: "link", Target: "a/run"})
	w.Close()
	return b.Bytes()
}

// object returns the info of an object that does not follow from its contents, and its archive.
func object(t testing.TB, name string, references ...storepath.Path) (*store.PathInfo, []byte) {
	t.Helper()
	archive := fileNAR(name)
	info := info(t, name, references...)
	info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, archive), uint64(len(archive))
	return info, archive
}

func readNAR(t testing.TB, s store.NARReader, path storepath.Path) []byte {
	t.Helper()
	r, err := s.NARFromPath(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return b
}

// onDisk returns what lies in the store directory, but for the links.
func onDisk(t testing.TB, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.storeDir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		if e.Name() != ".links" {
			names = append(names, e.Name())
		}
	}
	return names
}

// mustBeCanonical checks the metadata of everything in the store directory.
func mustBeCanonical(t testing.TB, s *Store) {
	t.Helper()
	for _, name := range onDisk(t, s) {
		err := filepath.WalkDir(filepath.Join(s.storeDir, name), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if mode := info.Mode(); !info.ModTime().Equal(time.Unix(1, 0)) || mode.Type() != fs.ModeSymlink && mode.Perm() != 0o444 && mode.Perm() != 0o555 {
				t.Errorf("%s has mode %v and time %v", path, mode, info.ModTime())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAddByContents(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	large := strings.Repeat("0123456789abcdef", smallContents/16) + "!"
	text, err := s.AddTextToStore(t.Context(), "dep", "dep", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m          storepath.Method
		a          nixhash.Algorithm
		contents   string
		references []storepath.Path
		path       storepath.Path // as Nix says; "" where the test with a real one compares
	}{
		{storepath.Text, nixhash.SHA256, "hello world", nil, "/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt"},
		{storepath.Text, nixhash.SHA256, large, []storepath.Path{text, text}, ""},
		{storepath.Flat, nixhash.SHA256, "", nil, ""},
		{storepath.Flat, nixhash.MD5, "x", nil, ""},
		{storepath.Flat, nixhash.SHA1, large, nil, ""},
		{storepath.Flat, nixhash.SHA512, "x", nil, ""},
		{storepath.Flat, nixhash.BLAKE3, "x", nil, ""},
		{storepath.NAR, nixhash.SHA256, string(fileNAR("x")), []storepath.Path{text}, ""},
		{storepath.NAR, nixhash.SHA256, string(treeNAR()), nil, ""},
		{storepath.NAR, nixhash.SHA512, string(treeNAR()), nil, ""},
		{storepath.NAR, nixhash.MD5, string(fileNAR(large)), nil, ""},
		{storepath.Git, nixhash.SHA1, string(treeNAR()), nil, ""},
		{storepath.Git, nixhash.SHA256, string(fileNAR("x")), nil, ""},
	} {
		what := fmt.Sprintf("%s, %s, %d bytes", c.m, c.a, len(c.contents))
		var info *store.PathInfo
		for range 2 { // the second time it is there
			info, err = s.AddToStore(t.Context(), "hello.txt", c.m, c.a, c.references, strings.NewReader(c.contents), nil)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if !info.IsContentAddressed() || c.path != "" && info.Path != c.path || len(info.References) > 1 {
			t.Errorf("%s: %+v", what, info)
		}
		archive := readNAR(t, s, info.Path)
		if want := c.contents; c.m == storepath.NAR && string(archive) != want || c.m == storepath.Flat && !bytes.Equal(archive, fileNAR(want)) {
			t.Errorf("%s: the archive is another", what)
		}
		// What was added once can be added with its info.
		other := open(t, Options{Root: t.TempDir()})
		if _, err := other.AddTextToStore(t.Context(), "dep", "dep", nil); err != nil {
			t.Fatal(err)
		}
		if err := other.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		mustBeCanonical(t, other)
	}
	mustBeCanonical(t, s)
	before := onDisk(t, s)
	for _, c := range []struct {
		name, contents string
		m              storepath.Method
		a              nixhash.Algorithm
		references     []storepath.Path
	}{
		{"x", "no archive", storepath.NAR, nixhash.SHA256, nil},
		{"x", string(treeNAR()[:200]), storepath.Git, nixhash.SHA1, nil},
		{"a b", "", storepath.Flat, nixhash.SHA256, nil},
		{"x", "", storepath.Flat, nixhash.SHA256, []storepath.Path{text}},
		{"x", "", storepath.Text, nixhash.SHA1, nil},
		{"x", "", storepath.Text, nixhash.SHA256, []storepath.Path{absent}},
		{"x", "", storepath.Flat, nixhash.Algorithm(99), nil},
		{"x", "", storepath.Method(99), nixhash.SHA256, nil},
	} {
		if info, err := s.AddToStore(t.Context(), c.name, c.m, c.a, c.references, strings.NewReader(c.contents), nil); err == nil {
			t.Errorf("%+v was added as %s", c, info.Path)
		}
	}
	if after := onDisk(t, s); !slices.Equal(before, after) {
		t.Errorf("refused objects left something: before %q, after %q", before, after)
	}
}

// git's own words for the tree of treeNAR: git hash-object and git mktree say the same.
func TestGitHash(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	info, err := s.AddToStore(t.Context(), "tree", storepath.Git, nixhash.SHA1, nil, bytes.NewReader(treeNAR()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.CA.Hash().Base16(); got != gitTreeOfSample {
		t.Errorf("git hash %s, want %s", got, gitTreeOfSample)
	}
}

// An archive in a longer stream is read to its end and no further.
func TestAddFromStream(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	info, archive := object(t, "x")
	r := wire.NewReader(strings.NewReader(string(archive)+string(treeNAR())+"rest"), 4096)
	if err := s.AddToStoreNAR(t.Context(), info, r, &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddToStore(t.Context(), "tree", storepath.NAR, nixhash.SHA256, nil, r, nil); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); string(rest) != "rest" || err != nil {
		t.Errorf("after the archives there is %q, %v", rest, err)
	}
}

// A wrong object is refused, in the words of Nix, and nothing of it stays.
func TestRefuse(t *testing.T) {
	key, err := signature.GenerateKey("key-1")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := signature.GenerateKey("stranger-1")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Root: t.TempDir(), TrustedKeys: signature.NewKeySet(key.Public())})
	all := &store.AddOptions{NoSignatures: true}
	wrongCA, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("other")))
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := s.Dir().FixedOutputPath("fixed", wrongCA, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*store.PathInfo)
		opts   *store.AddOptions
		want   string
	}{
		{func(*store.PathInfo) {}, nil, "because it lacks a signature by a trusted key"},
		{func(i *store.PathInfo) { i.Sign(stranger) }, nil, "because it lacks a signature by a trusted key"},
		{func(i *store.PathInfo) { i.Ultimate = true }, nil, "because it lacks a signature by a trusted key"},
		{func(i *store.PathInfo) { i.Sign(key); i.NARSize++ }, nil, "because it lacks a signature by a trusted key"},
		{func(i *store.PathInfo) { i.NARSize++ }, all, "size mismatch importing path"},
		{func(i *store.PathInfo) { i.NARHash = nixhash.Sum(nixhash.SHA256, nil) }, all, "hash mismatch importing path"},
		{func(i *store.PathInfo) { i.NARHash = nixhash.Sum(nixhash.SHA1, nil) }, all, "must be SHA-256"},
		{func(i *store.PathInfo) { i.NARHash = nixhash.Hash{} }, all, "must be SHA-256"},
		{func(i *store.PathInfo) { i.References = []storepath.Path{absent} }, all, "path '" + string(absent) + "' is not valid"},
		{func(i *store.PathInfo) { i.CA = wrongCA }, all, "claims to be content-addressed but isn't"},
		{func(i *store.PathInfo) { i.Path, i.CA = fixed, wrongCA }, nil, "ca hash mismatch importing path"},
		{func(i *store.PathInfo) { i.Path = "/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x" }, all, "/gnu/store"},
		{func(i *store.PathInfo) { i.Path = "/nix/store/../../etc/passwd" }, all, "passwd"},
		{func(i *store.PathInfo) { i.References = []storepath.Path{"/nix/store/x"} }, all, "/nix/store/x"},
		{func(i *store.PathInfo) { i.Deriver = "x.drv" }, all, "x.drv"},
		{func(i *store.PathInfo) { i.Path = i.Path + ".drv" }, all, "error parsing derivation"},
	} {
		for what, add := range map[string]func(*store.PathInfo, []byte) error{
			"one": func(i *store.PathInfo, b []byte) error {
				return s.AddToStoreNAR(t.Context(), i, bytes.NewReader(b), c.opts)
			},
			"many": func(i *store.PathInfo, b []byte) error {
				return s.AddMultipleToStore(t.Context(), 1, only(i, b), c.opts)
			},
		} {
			info, archive := object(t, "x")
			c.change(info)
			err := add(info, archive)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", what, err, c.want)
			}
			if valid, err := s.IsValidPath(t.Context(), info.Path); valid || err != nil {
				t.Errorf("%q, and yet it is valid (%v)", c.want, err)
			}
		}
	}
	info, archive := object(t, "x")
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive[:len(archive)-1]), all); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short archive: %v", err)
	}
	if left := onDisk(t, s); len(left) > 0 {
		t.Errorf("refused objects left %q", left)
	}
	info.Sign(key, stranger)
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), nil); err != nil {
		t.Errorf("a signed object was refused: %v", err)
	}
	if left := onDisk(t, s); !slices.Equal(left, []string{info.Path.Base()}) {
		t.Errorf("the store has %q", left)
	}
}

// only yields one object.
func only(info *store.PathInfo, archive []byte) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		yield(store.Import{Info: info, NAR: bytes.NewReader(archive)}, nil)
	}
}

// What lies in the way of an object, and is not valid, is the rest of an attempt.
func TestAddOverGarbage(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	for i, garbage := range []func(name string) error{
		func(name string) error { return os.WriteFile(name, []byte("garbage"), 0o444) },
		func(name string) error { return os.Symlink("/", name) },
		func(name string) error {
			return errors.Join(os.MkdirAll(name+"/a/b", 0o755), os.WriteFile(name+"/a/b/c", nil, 0o444), os.Chmod(name+"/a", 0o555))
		},
		func(name string) error { return os.WriteFile(name+".lock", nil, 0o600) },
		func(name string) error { return os.WriteFile(name+".lock", []byte(flock.StaleMark), 0o600) },
	} {
		info, archive := object(t, fmt.Sprint("x", i))
		if err := garbage(s.object(info.Path)); err != nil {
			t.Fatal(err)
		}
		if i == 4 {
			// A stale lock file is one that is about to go. Nobody but its holder would
			// ever remove one that stays, and in Nix all would wait.
			go func() { time.Sleep(30 * time.Millisecond); os.Remove(s.object(info.Path) + ".lock") }()
		}
		if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readNAR(t, s, info.Path), archive) {
			t.Error("the archive is another")
		}
	}
	mustBeCanonical(t, s)
	if left := onDisk(t, s); len(left) != 5 {
		t.Errorf("the store has %q", left)
	}
}

// A valid path is not read again, unless it is to be repaired.
func TestRepair(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	info, archive := object(t, "x")
	opts := &store.AddOptions{NoSignatures: true}
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts); err != nil {
		t.Fatal(err)
	}
	if err := s.AddToStoreNAR(t.Context(), info, nil, opts); err != nil {
		t.Error(err)
	}
	if err := errors.Join(os.Chmod(s.object(info.Path), 0o644), os.WriteFile(s.object(info.Path), []byte("y"), 0o644)); err != nil {
		t.Fatal(err)
	}
	r, err := s.NARFromPath(t.Context(), info.Path)
	if err != nil {
		t.Fatal(err)
	}
	var modified *store.ModifiedError
	if _, err := io.ReadAll(r); !errors.As(err, &modified) {
		t.Errorf("damage was not told: %v", err)
	}
	r.Close()
	opts.Repair = true
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive[:50]), opts); err == nil {
		t.Error("repaired with half an archive")
	}
	if got, err := os.ReadFile(s.object(info.Path)); string(got) != "y" || err != nil {
		t.Errorf("a repair that failed left %q, %v", got, err)
	}
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readNAR(t, s, info.Path), archive) {
		t.Error("it was not repaired")
	}
	mustBeCanonical(t, s)
	if left := onDisk(t, s); len(left) != 1 {
		t.Errorf("the store has %q", left)
	}
}

func TestAddMultiple(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	opts := &store.AddOptions{NoSignatures: true}
	// A chain that is longer than a batch, in the wrong order within each batch.
	const n = batchObjects + 50
	var all []store.Import
	var last *store.PathInfo
	for i := range n {
		var refs []storepath.Path
		if last != nil {
			refs = append(refs, last.Path)
		}
		info, archive := object(t, fmt.Sprint("x", i), refs...)
		if i == n-1 {
			archive = treeNAR()
			info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, archive), uint64(len(archive))
		}
		all = append(all, store.Import{Info: info, NAR: bytes.NewReader(archive)})
		last = info
	}
	objects := func(all []store.Import, end error) iter.Seq2[store.Import, error] {
		return func(yield func(store.Import, error) bool) {
			for _, o := range all {
				if !yield(o, nil) {
					return
				}
			}
			if end != nil {
				yield(store.Import{}, end)
			}
		}
	}
	reversed := slices.Clone(all)
	slices.Reverse(reversed[:batchObjects])
	reversed = append(reversed, reversed[0])
	if err := s.AddMultipleToStore(t.Context(), n+1, objects(reversed, nil), opts); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, err := range store.Closure(t.Context(), s, last.Path) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if left := onDisk(t, s); count != n || len(left) != n {
		t.Errorf("%d paths and %d names in the store directory", count, len(left))
	}
	mustBeCanonical(t, s)

	broken := errors.New("broken")
	one, archive := object(t, "one")
	if err := s.AddMultipleToStore(t.Context(), 2, objects([]store.Import{{Info: one, NAR: bytes.NewReader(archive)}}, broken), opts); err != broken {
		t.Errorf("%v", err)
	}
	if err := s.AddMultipleToStore(t.Context(), 2, objects([]store.Import{{Info: one, NAR: bytes.NewReader(archive)}}, nil), opts); err == nil {
		t.Error("one object too few was no error")
	}
	complete := n
	if valid, err := s.IsValidPath(t.Context(), one.Path); err != nil {
		t.Error(err)
	} else if valid { // it was complete before the error
		complete++
	}
	two, archive := object(t, "two")
	long := *two
	long.NARSize = 8
	var mismatch *store.MismatchError
	if err := s.AddMultipleToStore(t.Context(), 1, only(&long, archive), opts); !errors.As(err, &mismatch) {
		t.Errorf("an archive that is too long: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if err := s.AddMultipleToStore(ctx, 1, only(two, archive), opts); err != broken {
		t.Errorf("%v", err)
	}
	if left := onDisk(t, s); len(left) != complete {
		t.Errorf("failed attempts left %q", left[complete:])
	}
}

// Two who add the same in different orders do not wait for each other for ever.
func TestAddMultipleCrossing(t *testing.T) {
	root := t.TempDir()
	var workers sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for worker := range 4 {
		s := open(t, Options{Root: root})
		workers.Go(func() {
			objects := func(yield func(store.Import, error) bool) {
				for i := range 100 {
					if worker%2 == 1 {
						i = 99 - i
					}
					info, archive := object(t, fmt.Sprint("x", i))
					if !yield(store.Import{Info: info, NAR: bytes.NewReader(archive)}, nil) {
						return
					}
				}
			}
			if err := s.AddMultipleToStore(ctx, 100, objects, &store.AddOptions{NoSignatures: true}); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	s := open(t, Options{Root: root})
	if left := onDisk(t, s); len(left) != 100 {
		t.Errorf("the store has %d", len(left))
	}
}

func TestCancelledWaits(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	info, archive := object(t, "x")
	opts := &store.AddOptions{NoSignatures: true}
	stop := errors.New("stop")
	cancelled := func(what string, call func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(30*time.Millisecond, func() { cancel(stop) })
		begun := time.Now()
		if err := call(ctx); !errors.Is(err, stop) {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s took %v", what, took)
		}
	}
	l, err := s.lockPath(t.Context(), info.Path)
	if err != nil {
		t.Fatal(err)
	}
	cancelled("waiting for the lock of a path", func(ctx context.Context) error {
		return s.AddToStoreNAR(ctx, info, bytes.NewReader(archive), opts)
	})
	l.Release()
	other := open(t, Options{Root: filepath.Dir(filepath.Dir(s.storeDir))})
	err = other.write(t.Context(), func(*conn) error {
		cancelled("waiting for another process's transaction", func(ctx context.Context) error {
			return s.AddToStoreNAR(ctx, info, bytes.NewReader(archive), opts)
		})
		cancelled("waiting for one's own transaction", func(ctx context.Context) error {
			return other.invalidatePath(ctx, info.Path)
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if left := onDisk(t, s); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	// Nothing is the worse for it.
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts); err != nil {
		t.Error(err)
	}
}

// addDerivation adds a derivation with one output, of inputs that were added before.
func addDerivation(t testing.TB, s *Store, d *derivation.Derivation) storepath.Path {
	t.Helper()
	d.Dir, d.Platform, d.Builder = s.Dir(), "x", "/b"
	inputs, err := s.modulo.inputsOf(t.Context(), &drvReader{s: s}, d, nil)
	if err == nil {
		err = d.FillOutputPaths(inputs, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.AddTextToStore(t.Context(), d.Name+".drv", string(d.AppendATerm(nil)), d.References().Slice())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// drvs returns a chain of derivations, first → second, with a floating one beside.
func drvs(t testing.TB, s *Store) (first, second, floating storepath.Path) {
	out := derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.DeferredOutput()})
	env := derivation.MapOf(derivation.Entry[string, string]{Key: "out"})
	first = addDerivation(t, s, &derivation.Derivation{Name: "first", Outputs: out.Clone(), Env: env.Clone()})
	second = addDerivation(t, s, &derivation.Derivation{Name: "second", Outputs: out.Clone(), Env: env.Clone(),
		InputDerivations: derivation.MapOf(derivation.Entry[storepath.Path, derivation.InputOutputs]{Key: first, Value: derivation.OutputsOf("out")})})
	floating = addDerivation(t, s, &derivation.Derivation{Name: "floating", Env: derivation.MapOf(derivation.Entry[string, string]{Key: "out", Value: string(storepath.OwnPlaceholder("out"))}),
		Outputs: derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.FloatingOutput(storepath.NAR, nixhash.SHA256)})})
	return first, second, floating
}

func TestDerivations(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	first, second, floating := drvs(t, s)
	other := open(t, Options{Root: root}) // remembers no hashes
	for _, s := range []*Store{s, other} {
		outputs, err := s.QueryDerivationOutputMap(t.Context(), second)
		if err != nil || len(outputs) != 1 || outputs["out"] == "" {
			t.Fatal(outputs, err)
		}
		derivers, err := s.QueryValidDerivers(t.Context(), outputs["out"])
		if err != nil || !slices.Equal(derivers, []storepath.Path{second}) {
			t.Error(derivers, err)
		}
		if outputs, err := s.QueryDerivationOutputMap(t.Context(), floating); err != nil || len(outputs) != 1 || outputs["out"] != "" {
			t.Error(outputs, err)
		}
	}
	if _, err := s.QueryDerivationOutputMap(t.Context(), absent+".drv"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	missing, err := s.QueryMissing(t.Context(), []derivation.DerivedPath{
		derivation.Built{Drv: derivation.Opaque{Path: second}, Outputs: derivation.AllOutputs()},
		derivation.Opaque{Path: absent}, derivation.Opaque{Path: first},
	})
	want := []storepath.Path{first, second}
	slices.Sort(want)
	if err != nil || !slices.Equal(missing.WillBuild, want) || !slices.Equal(missing.Unknown, []storepath.Path{absent}) {
		t.Errorf("%+v, %v", missing, err)
	}

	// One that claims another's output, and ones that are none.
	before := onDisk(t, s)
	for _, text := range []string{
		strings.ReplaceAll(`Derive([("out","PATH","","")],[],[],"x","/b",[],[("out","PATH")])`, "PATH", string(absent)),
		"Derive(", "",
	} {
		if _, err := s.AddTextToStore(t.Context(), "absent.drv", text, nil); err == nil {
			t.Errorf("%q was added", text)
		}
	}
	if _, err := s.AddToStore(t.Context(), "dir.drv", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(treeNAR()), nil); err == nil {
		t.Error("a directory was added as a derivation")
	}
	if after := onDisk(t, s); !slices.Equal(before, after) {
		t.Errorf("%q is left", after)
	}
}

func TestRealisations(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	_, _, floating := drvs(t, s)
	text := func(name string) storepath.Path {
		path, err := s.AddTextToStore(t.Context(), name, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	out, another := text("out"), text("other")
	byPath := store.DrvOutput{Path: floating, Output: "out"}
	if _, err := s.QueryRealisation(t.Context(), byPath); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	key, err := signature.GenerateKey("key-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"a", "b", "a"} {
		r := store.KeyedRealisation{ID: byPath, Realisation: store.Realisation{OutPath: out, Signatures: []string{key.Sign([]byte(m)).String()}}}
		if err := s.RegisterDrvOutput(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	var conflict *RealisationConflictError
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: byPath, Realisation: store.Realisation{OutPath: another}}); !errors.As(err, &conflict) {
		t.Errorf("an output has two paths: %v", err)
	}
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: store.DrvOutput{Path: floating, Output: "dev"}, Realisation: store.Realisation{OutPath: absent}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	hash, err := s.DrvHash(t.Context(), floating)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{s, open(t, Options{Root: root})} {
		for _, id := range []store.DrvOutput{byPath, {Hash: hash, Output: "out"}} {
			r, err := s.QueryRealisation(t.Context(), id)
			if err != nil || r.OutPath != out || len(r.Signatures) != 2 {
				t.Errorf("%+v, %v", r, err)
			}
		}
		if outputs, err := s.QueryDerivationOutputMap(t.Context(), floating); err != nil || outputs["out"] != out {
			t.Errorf("%v, %v", outputs, err)
		}
	}
	if err := s.invalidatePath(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	// Nix up to 2.34 forgets the realisation with its path, and Nix from 2.35 on does not.
	if _, err := s.QueryRealisation(t.Context(), store.DrvOutput{Hash: hash, Output: "out"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after its path was deleted: %v", err)
	}
	if r, err := s.QueryRealisation(t.Context(), byPath); err != nil || r.OutPath != out {
		t.Errorf("after its path was deleted: %v, %v", r, err)
	}
	// So the next build may have another output.
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: byPath, Realisation: store.Realisation{OutPath: another}}); err != nil {
		t.Error(err)
	}
	for _, id := range []store.DrvOutput{byPath, {Hash: hash, Output: "out"}} {
		if r, err := s.QueryRealisation(t.Context(), id); err != nil || r.OutPath != another || len(r.Signatures) != 0 {
			t.Errorf("after the next build: %v, %v", r, err)
		}
	}
}

func TestLogs(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	drv := absent + ".drv"
	if _, err := s.BuildLog(t.Context(), drv); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	for _, log := range []string{"first", "second"} {
		if err := s.AddBuildLog(t.Context(), drv, strings.NewReader(log)); err != nil {
			t.Fatal(err)
		}
		r, err := s.BuildLog(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != "first" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		r.Close()
	}
}

func TestHashPart(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	a, b := info(t, "a"), info(t, "b")
	if err := s.registerValidPaths(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	for _, i := range []*store.PathInfo{a, b} {
		if p, err := s.QueryPathFromHashPart(t.Context(), i.Path.HashPart()); p != i.Path || err != nil {
			t.Errorf("%s, %v", p, err)
		}
	}
	for _, part := range []string{absent.HashPart(), strings.Repeat("z", 32), strings.Repeat("0", 32)} {
		if p, err := s.QueryPathFromHashPart(t.Context(), part); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s, %v", p, err)
		}
	}
	if _, err := s.QueryPathFromHashPart(t.Context(), "short"); err == nil {
		t.Error("a short hash part is none")
	}
}

// gitTreeOfSample is what git mktree says of the directory of treeNAR.
const gitTreeOfSample = "46e1dfd89b6d9967de9fb0bb00c97c3e07571249"

// A valid object that is not there is made again by whoever adds it, and what is known of it stays.
func TestAddMissingObject(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	path, err := s.AddTextToStore(t.Context(), "x", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddSignatures(t.Context(), path, []string{"key:c2ln"}); err != nil {
		t.Fatal(err)
	}
	before, err := s.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := objects.Remove(s.object(path)); err != nil {
		t.Fatal(err)
	}
	info, err := s.AddToStore(t.Context(), "x", storepath.Text, nixhash.SHA256, nil, strings.NewReader("text"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(info, before) {
		t.Errorf("%+v, want %+v", info, before)
	}
	if text, err := os.ReadFile(s.object(path)); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	if after, err := s.QueryPathInfo(t.Context(), path); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("%+v, %v, want %+v", after, err, before)
	}
}
