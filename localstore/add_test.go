package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pix/internal/flock"
	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

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
		path       storepath.Path // as computed by Nix; "" if only the test with a real Nix compares it
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
		for range 2 { // the second time it is already valid
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
		// Another store accepts the object with its info.
		other := open(t, Options{Root: t.TempDir()})
		if _, err := other.AddTextToStore(t.Context(), "dep", "dep", nil); err != nil {
			t.Fatal(err)
		}
		if err := other.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		checkCanonical(t, other)
	}
	checkCanonical(t, s)
}

// Contents that cannot have the content address, and broken archives, are refused and leave no files.
func TestAddWrongContents(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	text, err := s.AddTextToStore(t.Context(), "dep", "dep", nil)
	if err != nil {
		t.Fatal(err)
	}
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
		t.Errorf("refused objects left files: before %q, after %q", before, after)
	}
}

// The hash is the one that git hash-object and git mktree compute for the tree of treeNAR.
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

// AddToStoreNAR and AddToStore read an archive in a longer stream to its end and no further.
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
		t.Errorf("after the archives: %q, %v", rest, err)
	}
}

// A wrongObject is a change of the info of an object, and the error that it causes.
type wrongObject struct {
	change func(*store.PathInfo)
	opts   *store.AddOptions
	want   string
}

// wrongObjects returns changes that make an object wrong. key is trusted and stranger is not. fixed is the path of a
// flat file with the content address wrongCA.
func wrongObjects(key, stranger signature.SecretKey, all *store.AddOptions, wrongCA storepath.ContentAddress, fixed storepath.Path) []wrongObject {
	return []wrongObject{
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
	}
}

// A wrong object is refused with Nix's error, and no part of it remains.
func TestAddWrongObject(t *testing.T) {
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
	for _, c := range wrongObjects(key, stranger, all, wrongCA, fixed) {
		for what, add := range map[string]func(*store.PathInfo, []byte) error{
			"one": func(i *store.PathInfo, b []byte) error {
				return s.AddToStoreNAR(t.Context(), i, bytes.NewReader(b), c.opts)
			},
			"many": func(i *store.PathInfo, b []byte) error {
				return s.AddMultipleToStore(t.Context(), 1, oneImport(i, b), c.opts)
			},
		} {
			info, archive := object(t, "x")
			c.change(info)
			err := add(info, archive)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", what, err, c.want)
			}
			if valid, err := s.IsValidPath(t.Context(), info.Path); valid || err != nil {
				t.Errorf("the path is valid after the error %q (%v)", c.want, err)
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

// A file that has the name of an object whose path is invalid is replaced.
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
			// The holder of a stale lock file is about to delete it. If it stayed, no process would delete it, and Nix
			// would wait for ever.
			go func() { time.Sleep(30 * time.Millisecond); os.Remove(s.object(info.Path) + ".lock") }()
		}
		if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readNAR(t, s, info.Path), archive) {
			t.Error("the archive is a different one")
		}
	}
	checkCanonical(t, s)
	if left := onDisk(t, s); len(left) != 5 {
		t.Errorf("the store has %q", left)
	}
}

// AddToStoreNAR does not read the archive of a valid path, except for a repair.
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
		t.Errorf("the damage was not reported: %v", err)
	}
	r.Close()
	opts.Repair = true
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive[:50]), opts); err == nil {
		t.Error("the object was repaired with half an archive")
	}
	if got, err := os.ReadFile(s.object(info.Path)); string(got) != "y" || err != nil {
		t.Errorf("the failed repair left %q, %v", got, err)
	}
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readNAR(t, s, info.Path), archive) {
		t.Error("the object was not repaired")
	}
	checkCanonical(t, s)
	if left := onDisk(t, s); len(left) != 1 {
		t.Errorf("the store has %q", left)
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
		if took := time.Since(begun); took > time.Minute {
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
		t.Errorf("the store has %q", left)
	}
	// The store still works.
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts); err != nil {
		t.Error(err)
	}
}

// gitTreeOfSample is the hash that git mktree computes for the directory of treeNAR.
const gitTreeOfSample = "46e1dfd89b6d9967de9fb0bb00c97c3e07571249"

// If the object of a valid path is missing, adding the path creates the object again and keeps the info.
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

// AddScanned finds the references in the contents, among the candidates, and computes the path from them.
func TestAddScanned(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	candidates := make([]storepath.Path, 3)
	for i := range candidates {
		var err error
		if candidates[i], err = s.AddTextToStore(t.Context(), fmt.Sprint("input", i), fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{0, smallContents} {
		text := strings.Repeat("x", size) + string(candidates[1])
		want, err := s.AddToStore(t.Context(), "x", storepath.Text, nixhash.SHA256, candidates[1:2], strings.NewReader(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.AddScanned(t.Context(), "x", storepath.Text, nixhash.SHA256, candidates, strings.NewReader(text))
		if err != nil || got.Path != want.Path || !slices.Equal(got.References, candidates[1:2]) {
			t.Errorf("got %+v, %v, not %+v", got, err, want)
		}
	}
	archive := func() *bytes.Buffer {
		var b bytes.Buffer
		if err := nar.DumpFS(t.Context(), &b, fstest.MapFS{"file": {Data: []byte(candidates[2]), Mode: 0o644}}, "file", nil); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	want, err := s.AddToStore(t.Context(), "x", storepath.NAR, nixhash.SHA256, candidates[2:], archive(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.AddScanned(t.Context(), "x", storepath.NAR, nixhash.SHA256, candidates, archive())
	if err != nil || got.Path != want.Path {
		t.Errorf("got %+v, %v, not %+v", got, err, want)
	}
	if _, err := s.AddScanned(t.Context(), "x", storepath.Flat, nixhash.SHA256, candidates, strings.NewReader(string(candidates[0]))); err == nil {
		t.Error("a flat file with a reference was added")
	}
}
